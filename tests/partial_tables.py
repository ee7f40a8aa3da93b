"""Write tables of the workflow in which only some columns have values."""

from neurovault_ica.runtime.tables import column_names, write_table


def write_partial(path, rows):
    """Write a table of the workflow. Columns that a row does not have are n/a. Return the path as text."""
    empty = dict.fromkeys(column_names(path))
    write_table(path, [empty | row for row in rows])
    return str(path)
