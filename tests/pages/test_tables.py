"""A network that takes rows of a table: the bundled sample, and a table of the user's."""

from data_io.letter_files import FEATURES, LETTERS, read_bundled_letters
from tests.pages.visit import Visit


def letters_csv(count: int) -> bytes:
    """Return the first test rows as a user would have them, the label first."""
    rows, labels = (part[16_000 : 16_000 + count] for part in read_bundled_letters())
    lines = [",".join(("letter", *FEATURES))]
    lines += [f"{LETTERS[k]},{','.join(map(str, r))}" for r, k in zip(rows, labels, strict=True)]
    return "\n".join(lines).encode()


def test_the_sample_brings_its_rows_and_a_table_takes_their_place(visit: Visit) -> None:
    visit.press("model.use.letter-mlp").wait().wait()
    assert visit.errors == []
    assert "**Letter Recognition, test rows** · 2000" in visit.words
    assert float(visit.metric("Float top-1").value.rstrip(" %")) > 95
    place = f"data.{visit.work.data_choices}"
    visit.upload(f"{place}.npz", "mine.csv", letters_csv(300)).press("data.use")
    (error,) = visit.errors
    assert "must have the column 'lettr', got letter, x.box" in error
    place = f"data.{visit.work.data_choices}"
    visit.at.text_input(key=f"{place}.label").set_value("letter")
    visit.upload(f"{place}.npz", "mine.csv", letters_csv(300)).press("data.use").wait()
    assert visit.errors == []
    assert "**mine.csv** · 150 rows to score, labelled · 150 others" in visit.words
    assert float(visit.metric("Float top-1").value.rstrip(" %")) > 90
    place = f"data.{visit.work.data_choices}"
    own = "standardised, by this table's own mean and deviation"
    visit.at.selectbox(key=f"{place}.values").set_value(own)
    visit.press("data.use").wait()
    assert visit.errors == []
    assert visit.work.parts is not None
    assert '"mean"' in visit.work.data.preprocess
    assert len(visit.work.parts.score) == 150
    visit.press("data.bundled").wait()
    assert "**Letter Recognition, test rows**" in visit.words
