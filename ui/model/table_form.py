"""The fields for the meaning of a table's columns, on the Model page."""

from dataclasses import dataclass, replace

import streamlit as st

from data_io.open_dataset import measure_standardisation
from data_io.preprocessing import Preprocess
from data_io.table_columns import TableColumns

AS_THEY_ARE = "as they are"
WITH_KEPT = "standardised, by the numbers kept with the model"
WITH_OWN = "standardised, by this table's own mean and deviation"


@dataclass(frozen=True, slots=True)
class TableSteps:
    """The preprocessing of a table; `measure`: mean and deviation are still unknown."""

    preprocess: str
    measure: bool = False

    def preprocess_for_table(self, path: str) -> str:
        """Return the preprocessing for the table at `path`, as JSON.

        Raises:
            DatasetError: mean and deviation are unknown, and the file is no table of numbers.
        """
        if not self.measure:
            return self.preprocess
        return measure_standardisation(path, Preprocess.from_json(self.preprocess)).to_json()


def table_form(present: str, place: str) -> TableSteps:
    """Show the fields of a table; return the described preprocessing.

    Widget keys start with `place`: a new place starts from `present` again.
    """
    steps = Preprocess.from_json(present) if present else Preprocess()
    kept = steps.table or TableColumns()
    with st.expander("How a row becomes an input", icon=":material/table_rows:"):
        first, second = st.columns(2)
        label = first.text_input(
            "Column with the class",
            kept.label,
            key=f"{place}.label",
            help="By its name in the first line; empty where rows have no class. Not needed for "
            "an .npz file, whose array is called labels.",
        ).strip()
        target = second.text_input(
            "Column with the number to predict",
            kept.target,
            key=f"{place}.target",
            help="Of a regression; empty otherwise.",
        ).strip()
        choices = [WITH_KEPT, AS_THEY_ARE, WITH_OWN] if kept.mean else [AS_THEY_ARE, WITH_OWN]
        values = st.selectbox(
            "Values of the other columns",
            choices,
            key=f"{place}.values",
            help="A network needs the numbers of the table that it was trained on. They stay with "
            "the data once measured.",
        )
    if values != WITH_KEPT:
        kept = replace(kept, features=(), mean=(), std=())
    columns = replace(kept, label=label, target=target)
    return TableSteps(replace(steps, table=columns).to_json(), values == WITH_OWN)
