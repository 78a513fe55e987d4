"""The words of the field with a short explanation, for help icons."""

SQNR = (
    "SQNR is the ratio of signal to quantization noise in decibels: 10 dB more is a tenth of the "
    "noise, and a bit more is about 6 dB. Higher is better."
)
ENCODING = (
    "An encoding is the scale and zero point of a tensor with its bits: which values the integers "
    "stand for. It fits where few values are clipped and the steps are fine."
)
KURTOSIS = (
    "Kurtosis tells how far the tails of a distribution reach: 3 for a bell curve; far more means "
    "a few large values, for which the steps of all others become coarse."
)
RECIPE = (
    "A recipe is a list of repairs in order, such as equalize, then correct biases. Repairs change "
    "weights or rounding so that the same bits lose less; most cost nothing at inference."
)
FRONT = (
    "The front holds the best trade-offs: for each cost the most accurate choice of bits. Nothing "
    "outside it is both cheaper and better."
)
