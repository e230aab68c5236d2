"""What the simulation found in the product, each with the smallest history that showed it."""

from __future__ import annotations

from tests.simulation.system import Sizes
from tests.simulation.world import History

FOUND: dict[str, History] = {
    "S1 a message heard while a cycle fails before the pull called for the next cycle at once, for ever": History(
        700194,
        3,
        (
            (0.1142321347305065, "cloud", "back_up"),
            (0.3376329025803846, "c", "link", b"c/d/x", 973),
            (0.34960947674010645, "b", "write", b"d", 1239),
            (0.35480615951913685, "cloud", "restore"),
        ),
    ),
    "S2 a file with a time that is still to come was read again ten times a second until then": History(
        500022, 2, ((2.754986435440797, "a", "write", b"y", 1365), (2.754986435440797, "a", "jump", -86400.0))
    ),
    "S3 a folder that a person made where a plan wanted one was not looked into": History(
        328,
        3,
        (
            (1.7299818603769554, "b", "write", b"f/x", 568),
            (1.742990829588696, "a", "folder", b"x"),
            (1.750289913136144, "b", "move", b"f", b"x"),
        ),
    ),
    "S4 what a pull had done before it was killed was taken for work done here: it came back, and clashed": History(
        1064,
        2,
        (
            (0.3158322961898968, "a", "kill", 6, 0.5),
            (0.3323089950773125, "b", "write", b"f/x", 136),
            (0.7846685214818243, "b", "swap", b"f", 561),
        ),
    ),
    "S4b and a person's edit of it after the start was a clash": History(
        10767,
        2,
        (
            (0.0, "a", "cut", 12, 0.05),
            (0.8166246236960353, "b", "write", b"d/e", 153),
            (0.8202594760053524, "a", "fault", "lose answer"),
            (1.2601309820423912, "a", "append", b"d/e", 520),
        ),
    ),
    "S5 an executable bit was not synced: lost with the power, its loss was pushed as a person's change": History(
        2356,
        2,
        (
            (0.003045903063905673, "a", "write", b"y", 49),
            (0.018977564764007714, "a", "write", b"f/x", 357),
            (0.837552151201679, "a", "flip", b"y"),
            (2.259487677090317, "b", "fault", "double"),
            (3.15263298082651, "b", "cut", 3, 3.0),
            (3.2303424846424353, "b", "slow", b"f/x", 1487),
            (5.4059814650351035, "b", "kill", 55, 0.05),
        ),
    ),
    "S6 what a killed process had done was not synced by the next: lost with the power, its loss was pushed as a removal": History(
        3360,
        3,
        (
            (1.6157394358308619, "a", "kill", 11, 0.05),
            (3.304680086912459, "a", "write", b"a/x", 515),
            (3.3112624061748024, "b", "meet", 7, "write", b"d", 610),
            (3.855587599319517, "a", "cut", 1, 0.05),
            (3.8596213623772866, "a", "write", b"d", 1212),
            (4.805441984471162, "c", "fault", "slow"),
        ),
    ),
    "S7 of a folder removed on both sides at once, the folder's removal was kept without that of its files: no tree, for ever": History(
        14, 2, ((0.4, "a", "write", b"y", 5), (0.5, "a", "write", b"d/e/x", 571), (2.2, "a", "remove", b"d"), (2.228, "b", "remove", b"d"))
    ),
    "S21 a temporary stayed when the process was killed while it asked a new folder's disk what it holds": History(
        734076721,
        2,
        ((0.0046, "b", "cut", 2, 3.0), (1.9891, "b", "kill", 10, 0.5)),
        Sizes(),
    ),
    "S22 a push that arrived late was followed as somebody else's: by its event, or after it had been asked for in vain": History(
        910000000163,
        2,
        (
            (0.3743798053202572, "b", "fault", "lose answer"),
            (1.045017310914861, "b", "fault", "late"),
            (1.5287633885134482, "b", "fault", "late"),
            (1.7385994847742785, "b", "meet", 6, "link", b"x", 778),
            (1.8207517570737783, "b", "write", b"d/e/x", 966),
            (2.008297071977341, "b", "swap", b"x", 1061),
        ),
        Sizes(few_steps=0, bulk_files=1, few_blobs=1, push_changes=2),
    ),
    "S17 in a large plan names were given to bytes that were not synced: a power cut left empty files, and clashes": History(
        41,
        2,
        ((0.5, "a", "write", b"d/x", 571), (1.0, "b", "cut", 9, 0.1), (1.1, "a", "write", b"d/y", 572), (1.1, "a", "write", b"f/y", 572)),
        Sizes(few_steps=0),
    ),
}

TRIED: dict[str, History] = {
    "S8": History(
        700010,
        2,
        (
            (0.0, "cloud", "kill", 10),
            (0.4740202089992847, "b", "link", b"d", 171),
            (0.9068770120133313, "b", "swap", b"d", 649),
            (1.2855958707798014, "b", "deafen", 0.12961266257273718),
            (1.6384417771143824, "a", "write", b"y", 1075),
        ),
        Sizes(1, 0, 0, 0, 2),
    ),
    "S12": History(
        700068,
        2,
        (
            (2.075156937066719, "b", "write", b"b/f/x", 485),
            (3.993327522704086, "b", "cut", 5, 0.5),
            (5.596587673903378, "a", "write", b"d/e", 1240),
        ),
        Sizes(0, 0, 0, 0),
    ),
    "S13": History(
        700077,
        2,
        (
            (0.9037021004536756, "b", "folder", b"d/e"),
            (0.9286631984453529, "b", "fault", "lose answer"),
            (1.084264143272692, "b", "swap", b"d", 679),
        ),
    ),
    "S15": History(700050, 2, ((0.11663809789856766, "a", "write", b"d/e/x", 253), (0.11663809789856766, "b", "write", b"d/e/x", 396))),
}
"""Where mistakes that were made on purpose show (mistakes.py): chance would find them too, less soon."""
