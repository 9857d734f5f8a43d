"""Finding jobs by their labels, whatever characters a label has."""

from sqlalchemy import ColumnElement, func, select

from quickalign.platform.db.tables import JobRow


def has_label(database: str, key: str, value: str) -> ColumnElement[bool]:
    """The condition that a job has this very label; `database` is `sqlite` or `postgresql`.

    A JSON path would be shorter, but cannot name every key: SQLite knows no escape for a quotation mark in one.
    """
    each = func.json_each_text if database == "postgresql" else func.json_each
    pairs = each(JobRow.labels).table_valued("key", "value")
    return select(1).select_from(pairs).where(pairs.c.key == key, pairs.c.value == value).correlate(JobRow).exists()
