"""What the simulation found in the product, each with the smallest history that showed it."""

from __future__ import annotations

from tests.simulation.features import Features
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
    "S24 snapshots that a cloud from an older backup had lost were never sent again, nor what came after": History(
        5015,
        2,
        (
            (2.5357011932741944, "cloud", "back_up"),
            (4.0697940921040665, "b", "ask", "snapshot"),
            (5.187981460832034, "b", "write", b"d/e/x", 2059),
            (5.187981460832034, "cloud", "restore"),
            (6.0176976098385415, "b", "ask", "snapshot"),
        ),
        Sizes(few_steps=1, bulk_files=0, inline_blobs=0),
    ),
    "S24b and of two machines whose lines had met, each waited for the other": History(
        20115,
        2,
        (
            (0.0, "a", "write", b"f/x", 58),
            (0.008905834654983064, "a", "cut", 2, 3.0),
            (0.5413882685876517, "cloud", "back_up"),
            (0.7563462906499772, "b", "cut", 2, 3.0),
            (1.7376687058745923, "b", "tidy"),
            (2.092679481035324, "b", "write", b"x", 247197),
            (2.265377851703177, "a", "move", b"f", b"y"),
            (5.478864853809551, "cloud", "restore"),
        ),
        Sizes(few_steps=0, bulk_files=0, few_blobs=1, inline_blobs=1, push_changes=2),
        Features(brake_files=3),
    ),
    "S25 a conflict that was resolved before a machine heard of it named texts that were not there: fsck called it damage": History(
        5016,
        3,
        (
            (0.26831786338229063, "c", "write", b"b/x", 335168),
            (0.27237120549445404, "b", "write", b"b/x", 906553),
            (0.39343129430044527, "a", "cut", 1, 0.5),
            (0.9297502121533743, "b", "ask", "resolve", "theirs", 391111),
        ),
        Sizes(bulk_files=1, few_blobs=1, inline_blobs=1, push_changes=2, has_exchange=False),
    ),
    "S26 a secret that was let go replaced what others had written there meanwhile, without a word": History(
        5058,
        3,
        ((2.6800886071020757, "b", "hide", b"d/x", 128717), (3.259567096139738, "c", "write", b"d/x", 972)),
        Sizes(few_steps=0, bulk_files=0, few_blobs=0, inline_blobs=0),
        Features(secrets=True),
    ),
    "S26b and so did one that another machine had let go of": History(
        5039,
        2,
        (
            (0.14158391613078217, "a", "hold", False),
            (0.7690774745244541, "b", "hide", b"d/.env", 601354),
            (1.0179739181212242, "a", "hide", b"d/.env", 153128),
        ),
        Sizes(),
        Features(secrets=True),
    ),
    "S27 what a rule ignores and the cloud has stood in the way of every pull, for ever: no look found it": History(
        5009,
        3,
        (
            (0.9257407426207577, "c", "write", b"d/x", 482),
            (2.1164429125110917, "b", "change", b"d/x", 1016),
            (2.6250620885992966, "a", "write", b"x", 1118),
            (3.1894589968831317, "a", "rule", b".gitignore", b"f\n"),
            (3.190706345583395, "c", "rule", b"f/.gitignore", b"/f/\n"),
            (3.20719525515427, "a", "rule", b"f/.gitignore", b"!x\n"),
        ),
        Sizes(),
        Features(rules=True),
    ),
    "S29 a file changed in a folder that a rule of the same look ignores: one path had two changes, and no push was taken": History(
        20246,
        2,
        (
            (0.007833448911038998, "b", "write", b"d/e/x", 37),
            (0.5317286354965096, "b", "write", b"f/x", 483),
            (0.5317286354965096, "b", "link", b"d/e/x", 515),
            (0.5730494898834504, "b", "rule", b".fstignore", b"e\n"),
        ),
        Sizes(few_steps=0, bulk_files=1, few_blobs=1, inline_blobs=1),
        Features(rules=True),
    ),
    "S30 the rules of a folder that was removed were those of the next one with its name": History(
        20407,
        2,
        (
            (0.08300825641591235, "b", "folder", b"f/x"),
            (1.6610894088149748, "a", "rule", b"f/.gitignore", b"x\ny\n"),
            (2.3437584201742423, "a", "remove", b"f"),
        ),
        Sizes(few_steps=1, bulk_files=0, few_blobs=1, inline_blobs=1),
        Features(rules=True, secrets=True, brake_files=2),
    ),
    "S31 a machine that had something to try again and no connection was awake all the time": History(
        77000001769,
        2,
        (
            (1.1421255664734562, "a", "write", b"f/x", 476),
            (2.5862046664064, "a", "rule", b".fstignore", b"x\ny\n"),
            (4.015737659874422, "a", "cut", 5, 0.05),
            (5.848328631140069, "b", "remove", b"f"),
        ),
        Sizes(few_steps=1, few_blobs=0, inline_blobs=0),
        Features(rules=True),
    ),
    "S32 a conflict was resolved into a folder that is gone: a state that is no tree, which nobody could read or send": History(
        77000001617,
        2,
        (
            (0.006727895577643547, "a", "write", b"a/f", 87),
            (0.1395229163215948, "b", "write", b"d/x", 801593),
            (0.7771304419396119, "b", "kill", 5, 0.5),
            (1.3394524657720945, "b", "write", b"d/e", 1221),
            (1.448716421587399, "a", "write", b"d/e/x", 1409),
            (2.2474590766705607, "a", "rule", b".fstignore", b"d/\n"),
            (2.336143911934776, "a", "remove", b"d/e"),
            (2.808166731743928, "a", "ask", "resolve", "edit", 144103),
        ),
        Sizes(few_blobs=1, inline_blobs=1, bulk_files=0),
        Features(rules=True, secrets=True),
    ),
    "S33 a folder took the place of a secret that others had something at, and what is in it was shared without it": History(
        77000002690,
        3,
        (
            (1.1220713734367114, "c", "hide", b"x", 463746),
            (4.5200272616297195, "b", "write", b"x", 717812),
            (5.106072583045447, "c", "swap", b"x", 1331),
        ),
        Sizes(),
        Features(secrets=True, brake_files=1, chunks=True),
    ),
    "S34 a folder that others took away was stale for ever for the secret in it": History(
        20461,
        2,
        (
            (0.2, "a", "write", b"d/e/x", 30),
            (1.5, "b", "hide", b"d/e/key", 31),
            (3.0, "a", "remove", b"d"),
            (3.1, "a", "write", b"later", 32),
        ),
        Sizes(),
        Features(secrets=True, lets_go=False),
    ),
    "S35 what others put into a folder where a secret is was stale for ever": History(
        77000003510,
        2,
        (
            (0.9061577178347022, "b", "hide", b"y", 137648),
            (0.9113460248891561, "a", "meet", 9, "write", b"y", 169154),
            (1.3030722353339832, "a", "write", b"f", 377927),
            (1.4078705626526746, "a", "swap", b"y", 871),
        ),
        Sizes(few_steps=1, bulk_files=0, few_blobs=0, inline_blobs=1),
        Features(secrets=True, lets_go=False),
    ),
    "S36 what one rule ignores in a folder that another ignores left twice in one look, which was refused: it stayed carried": History(
        1891,
        2,
        ((0.1, "b", "rule", b".gitignore", b"x\ny\n"), (0.1, "a", "write", b"d/e/x", 1288), (0.15, "b", "rule", b".fstignore", b"d/\n")),
        Sizes(),
        Features(rules=True),
    ),
    "S37 the cloud gave a blob that lies in two of its frames twice, and who asked refused the answer": History(
        77000002449,
        2,
        (
            (0.0, "cloud", "kill", 9),
            (0.07200760376321083, "b", "meet", 5, "write", b"b/f/x", 24),
            (0.4612769244184539, "b", "write", b"d/x", 128),
        ),
        Sizes(0, 1, 0, 0),
    ),
    "S39 a part of the list of files could not be kept once it was larger than a blob in one piece may be": History(
        77000003282,
        2,
        (
            (0.02137050937339728, "a", "write", b"f/x", 380),
            (0.028237442791450535, "a", "move", b"f", b"d/x"),
            (0.12463946386888636, "cloud", "back_up"),
            (0.3219507149811853, "a", "fill", b"f", 366673),
            (0.531323461924839, "b", "write", b"d/y", 322580),
            (0.6074229630332182, "a", "write", b"d/e/x", 719),
            (0.672834656721157, "cloud", "restore"),
            (0.7281810390000303, "a", "hide", b".env", 684246),
            (0.8333747678658016, "b", "hide", b"x", 902994),
            (0.8712888049015622, "b", "fill", b"y", 143217),
            (0.9836416431686711, "b", "hide", b".env", 949132),
            (1.1015097342638132, "a", "hold", False),
            (1.1045957114061178, "b", "fill", b"b/x", 249347),
            (1.2694737047187377, "a", "hide", b"y", 530677),
            (1.5429753603735734, "a", "write", b"a/x", 616965),
            (1.5622845484851922, "b", "write", b"a/x", 578171),
        ),
        Sizes(few_blobs=1, inline_blobs=0),
        Features(("copy", "markers"), secrets=True, chunks=True),
    ),
    "S40 what a restore did before it failed was not sent until something else changed": History(
        88000000679,
        2,
        (
            (0.35079366081449537, "a", "meet", 4, "write", b"d/y", 642410),
            (0.35079366081449537, "a", "ask", "undo"),
            (1.2656858627879353, "b", "write", b"f", 117),
            (1.9890492770051202, "b", "ask", "restore one", 23, b"d/x"),
            (2.6438150579942077, "a", "write", b"D", 522324),
            (3.0774589347817334, "a", "ask", "restore one", 82, b"d/y"),
            (6.980601704326802, "a", "remove", b"D"),
            (7.499186848225928, "b", "ask", "restore", 57),
        ),
        Sizes(bulk_files=0, few_blobs=1, inline_blobs=0, push_changes=2, has_exchange=False),
        Features(folds="case"),
    ),
    "S41 what others had at a secret that a rule ignores now was to come where it still is, and was stale for ever": History(
        95000001695,
        2,
        (
            (2.8986125627425308, "b", "hide", b"d/e/x", 492084),
            (3.970421339282119, "a", "write", b"d/e/x", 1503),
            (4.138678132122048, "b", "rule", b".fstignore", b"x\n"),
        ),
        Sizes(few_steps=0, bulk_files=1, push_changes=2),
        Features(rules=True, secrets=True, lets_go=False),
    ),
    "S42 a secret went, and what was to come below it was left in no folder": History(
        96000000270,
        2,
        (
            (0.0, "cloud", "kill", 5),
            (0.03749397171991886, "a", "fault", "lose request"),
            (0.3566748411170824, "a", "hold", False),
            (0.8887209971839628, "b", "hide", b"f/x", 426024),
            (1.137688047598185, "a", "hide", b"d/x", 537419),
            (1.1923492377009408, "a", "deafen", 0.905880726751135),
            (1.6670733109549594, "b", "hide", b"d/.env", 388224),
            (2.256345643159978, "b", "rule", b".gitignore", b"x\n!/x\n"),
            (2.483458122899673, "a", "folder", b"d/e"),
            (2.7234161719910617, "a", "swap", b"d/x", 535),
        ),
        Sizes(),
        Features(rules=True, secrets=True, lets_go=False),
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
