"""The kinds of jobs."""

from enum import StrEnum


class JobKind(StrEnum):
    """The kinds of long work beside a page; the value begins the title of the job."""

    LOAD_MODEL = "Load"
    CHECK_IMPORT = "Check the import of"
    FLOAT_SCORE = "Float accuracy of"
    DIAGNOSE = "Diagnose"
    CALIBRATE = "Calibrate"
    CALIBRATION_SIZE = "Enough images for"
    TENSOR_NOISE = "Noise of the tensors of"
    SENSITIVITY = "Sensitivity of"
    TRY_REMEDY = "Try"
    REPAIR = "Repair"
    TRAIN = "Training"
    FRONT = "Front of"
    MEASURE = "Measure"
    RUN = "Run"
    EXPORT = "Export of"
    CHECK_FILE = "Check of"
    COMPARE_DUMP = "Device dump beside"
    REPORT = "Report of"
    OTHER = ""
