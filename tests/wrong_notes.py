"""Wrong tables of a person's notes on ICA_00 and ICA_01, and what both the workflow and the page say about them."""

WRONG_NOTES = [
    ("", " is empty; give a tab-separated table with the columns component and name"),
    ("component,name\nICA_00,pain\n", "unknown column 'component,name'; give a tab-separated table"),
    ("component\tverdict\nICA_00\taccept\n", "the column name is missing"),
    ("component\tname\tname\n", "two columns are called name; keep one"),
    ("component\tname\nica_00\tpain\n", "line 2: there is no component 'ica_00'; did you mean ICA_00?"),
    ("component\tname\n1\tpain\n", "line 2: there is no component '1'; did you mean ICA_01?"),
    ("component\tname\n12\tpain\n", "no component '12'; this run has ICA_00 to ICA_01"),
    ("component\tname\nICA_00\ta\n\nICA_00\tb\n", "line 4: ICA_00 has two lines; keep one"),
    ("component\tname\nICA_00\tpain\tbad\n", "line 2 has 3 columns, but the first line has 2: ICA_00 | pain | bad"),
    ("component\tname\tverdict\nICA_00\ta\tmaybe\n", "the verdict 'maybe' is not one of accept, reject, unsure"),
    ("component\tname\tpeak\nICA_00\ta\t4 5\n", "the peak '4 5' is not three numbers"),
    ("component\tname\tpeak\nICA_00\ta\tnan 0 0\n", "the peak 'nan 0 0' is not three numbers"),
    ('component\tname\nICA_00\t"open\n', "line 2: a quote is opened"),
]
