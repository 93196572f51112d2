"""A trainbus reader of the table that spaCy prints while it trains."""

import re

from trainbus.replay.readers import LogFile, Reader, Recording, Source, Table, parse_number, record_table


def recognizes(file: LogFile) -> bool:
    """Return whether the beginning of the file has the labels of the table."""
    return any(line.split()[:2] == ["E", "#"] for line in file.lines)


def read(source: Source) -> list[Recording]:
    """Return the run in a file, with a row for each evaluation."""
    table, labels = Table(), list[str]()
    with source.path.open(encoding="utf-8") as file:
        for line in file:
            cells = line.split()
            if cells[:2] == ["E", "#"]:
                labels = ["epoch", "step", *re.split(r" {2,}", line.strip())[2:]]
            elif labels and len(cells) == len(labels):
                # several evaluations have one epoch, so steps say when they were
                table.add(zip(labels[1:], map(parse_number, cells[1:]), strict=True))
    return [record_table(source.name, "spaCy", table, [])]


READER = Reader("spaCy's tables", recognizes, read)
