"""Mutants that live because no test could tell: by module and by what `python -m tests.mutation` calls them, with the reason."""

from __future__ import annotations

SPARES = "only spares work: what it skips would come to the same"
TYPED = "for the type checker: nothing else can be there"
WRITTEN = "written before it is read"
DEFAULT = "is what Python takes anyway"
NATURAL = "no count is below zero"
STEPPED = "counted up by one, so it is met and never passed"
UNMET = "what only the new text has meets no equal"
FALSY = "of a yes or no, None is no"
ONE_OBJECT = "two that are equal are one object here: a bool, a small number, or what is there once"

EXPLAINED: dict[str, dict[str, str]] = {
    "autosnapshot": {
        "snapshot_due_ms: 0 <= now_ms - newest_ms < COOLDOWN_MS -> 0 <= now_ms - newest_ms <= COOLDOWN_MS": "at the bound, both are now",
        "_measure: significant |= change.old is None or change.new is None"
        " -> significant += change.old is None or change.new is None": "any number but zero is a yes",
        "_measure: files >= LARGE_FILES -> files == LARGE_FILES": STEPPED,
        "_measure: files >= LARGE_FILES -> files is LARGE_FILES": STEPPED,
        "_common_start: low < high -> low != high": "they meet, and never pass each other",
        "_common_start: 1 -> 2": "halving a little further up finds the same place",
    },
    "brake": {
        "_tell: 1 -> 2": "two parts read the same whether they are taken as a list or as its last and the rest",
        "weigh: before > 0 -> before != 0": NATURAL,
        "weigh: after == 0 -> after <= 0": NATURAL,
        "weigh: before > 0 -> before != 0 (2)": NATURAL,
        "_tell: len(what) > 1 -> len(what) != 1": "there is always something to tell",
        "count_losses: new is not None -> True": "what arrives as nothing is never looked up",
    },
    "disk": {
        "Disk.fold: key.lower() -> key.upper()": "a key is only compared with keys",
        "Disk.refusal: text != normalize('NFD', text) -> text is not normalize('NFD', text)": "CPython hands back what is normal already",
        "_fold_letter: len(upper) == 1 -> len(upper) <= 1": "no letter has an empty capital",
        "_fold_letter: len(lower) == 1 -> len(lower) <= 1": "no letter has an empty small one",
        ": frozenset('<>:\"|?*\\\\') | frozenset(map(chr, range(32))) -> frozenset('<>:\"|?*\\\\') ^ frozenset(map(chr, range(32)))": (
            "the two have none in common"
        ),
    },
    "glob": {
        "parse_glob: next((at for at, byte in enumerate(anchored) if byte in b'*?[\\\\'), len(anchored))"
        " -> next((at for at, byte in enumerate(anchored) if byte in b'*?[\\\\'), None)": "where a slice ends anyway",
        "_tokens: at < len(pattern) -> at != len(pattern)": STEPPED,
        "_tokens: at < len(pattern) -> at is not len(pattern)": ONE_OBJECT,
        "_tokens: end - at == 1 -> end - at <= 1": "there is one at least",
        "_tokens: at == len(pattern) -> at >= len(pattern)": STEPPED,
        "_tokens: pattern[at] == ord('/') -> pattern[at] is ord('/')": ONE_OBJECT,
        "_parse_set: at == first -> at <= first": STEPPED,
        "_parse_set: at == first -> at is first": ONE_OBJECT,
        "_parse_set: at + 2 -> at (3)": "no `]` is in `[:`",
        "_parse_set: 2 -> 1 (3)": "no `]` is in `[:`",
        "_tails: sorted(token) -> token": "the order of ways means nothing; sorted, it is the same on every Python",
        "_set_regex: sorted(members) -> members": "the order in a set means nothing; sorted, it is the same on every Python",
        "_plain: for token in tokens if isinstance(token, int) -> for token in tokens": TYPED,
        "_segment_regex: isinstance(token, frozenset) -> True": TYPED,
        "_folder_regex: 0 -> -1": "the only one is the first and the last",
        "_segment_regex: 0 -> -1": "the only one is the first and the last",
        ": '' -> 'x' (2)": "x is a graphic character, and printable",
        ": '' -> 'x' (3)": "x is a graphic character, and printable",
        "Mark.: '*' -> ''": "a mark's value is for readers",
        "Mark.: '**' -> ''": "a mark's value is for readers",
        "Mark.: '**/' -> ''": "a mark's value is for readers",
        "Mark.: '/' -> ''": "a mark's value is for readers",
        "Mark.: '\\\\/' -> ''": "a mark's value is for readers",
    },
    "history": {
        "_as_seen_from: each.merge in seen and each.undo in _steps_from([tip], seen) -> each.undo in _steps_from([tip], seen)": SPARES,
    },
    "ignore": {
        "_Names.search: None -> ''": FALSY,
        "carried_rules.is_untracked: not made -> True": SPARES,
        "carried_rules.is_untracked: 0 -> -1": "there is one",
        "_affixes: tail.kind == 'suffix' -> tail.kind >= 'suffix'": "of the four kinds it is the last",
        "_affixes: tail.kind == 'regex' -> tail.kind >= 'regex'": "the only kind behind it is asked for before",
        "_affixes: tail.kind != 'literal' -> tail.kind > 'literal'": "of the four kinds it is the first",
        "_sieve: tail.kind == 'literal' -> tail.kind <= 'literal'": "of the four kinds it is the first",
        "_sieve: tail.kind == 'literal' -> tail.kind >= 'literal'": SPARES,
        "_Stack.names_in: len(self._names) >= _KEEP -> len(self._names) == _KEEP": STEPPED,
        "Rules.enter: len(self._known) >= _KEEP -> len(self._known) == _KEEP": STEPPED,
        "Rules.enter: _Known(self._stack, gitignore, fstignore, self._deeper(folder, gitignore, fstignore))"
        " -> _Known(self._stack, gitignore, None, self._deeper(folder, gitignore, fstignore))": SPARES,
        "_trim: len(bare) - len(bare.rstrip(b'\\\\')) -> len(bare) ^ len(bare.rstrip(b'\\\\'))": "odd where the other is odd",
        "_trim: len(bare) < len(text) -> len(bare) != len(text)": "what was cut is not longer",
        "_sieve: for tail in tails if tail.kind == 'literal' -> for tail in tails": SPARES,
        "_trim: len(bare) - len(bare.rstrip(b'\\\\')) -> len(bare) + len(bare.rstrip(b'\\\\'))": "odd where the other is odd",
        "_affixes: len(tail.end) >= len(tail.start) -> len(tail.end) > len(tail.start)": "of two as long, either tells as much",
    },
    "merge.join": {
        "_are_replacements: one.old_end <= other.old_start -> one.old_end == other.old_start": "those of a stretch touch or overlap",
        "_is_alone: 3 - side -> 3 ^ side": "2 of 1, and 1 of 2",
        "is_text: False -> None": FALSY,
        "_take_touching: False -> None": FALSY,
        "_join: 0 -> None": "where a slice begins anyway",
        "find_stretches: () -> None": FALSY,
        "find_stretches: mine and yours and _are_replacements(mine + yours) -> yours and _are_replacements(mine + yours)": SPARES,
        "find_stretches: mine and yours and _are_replacements(mine + yours) -> mine and _are_replacements(mine + yours)": SPARES,
        "find_stretches: known or tuple(map(frozenset, texts)) -> tuple(map(frozenset, texts))": SPARES,
    },
    "merge.marked": {
        "merge_marked: 0 -> None": "where a slice begins anyway",
        **dict.fromkeys(
            (
                "_parts: _Part(region.ours_start, region.ours_end, region.theirs_start, region.theirs_end, in_conflict=False)"
                " -> _Part(region.ours_start, region.ours_end, region.theirs_start, region.theirs_end, in_conflict=None)",
                "_parts: _Part(region.ours_end, region.ours_end, region.theirs_end, region.theirs_end, in_conflict=False)"
                " -> _Part(region.ours_end, region.ours_end, region.theirs_end, region.theirs_end, in_conflict=None)",
            ),
            FALSY,
        ),
    },
    "merge.style": {
        "copy_names: number == 1 -> number <= 1": STEPPED,
        "copy_names: MAX_NAME_BYTES - len(end) -> MAX_NAME_BYTES ^ len(end)": "255 is all ones",
        "cut_name: 0 < size < len(name) -> 0 != size < len(name)": NATURAL,
        "_is_surely_text: False -> None": FALSY,
        "_is_surely_text: False -> None (2)": FALSY,
    },
    "merge.lines": {
        "diff_lines: numbers.setdefault(line, len(numbers)) -> numbers.setdefault(line, None) (2)": UNMET,
        "diff_lines: numbers.setdefault(line, len(numbers)) -> numbers.setdefault(line) (2)": UNMET,
        "_Side.slide_up: self.start == 0 -> self.start <= 0": NATURAL,
        "_Side.slide_up: self.lines[self.start - 1] != self.lines[self.end - 1]"
        " -> self.lines[self.start - 1] is not self.lines[self.end - 1]": ONE_OBJECT,
        "_Side.slide_up: False -> None": FALSY,
        "_Side.slide_down: self.end == self.count -> self.end >= self.count": STEPPED,
        "_Side.slide_down: self.lines[self.start] != self.lines[self.end]"
        " -> self.lines[self.start] is not self.lines[self.end]": ONE_OBJECT,
        "_Side.slide_down: False -> None": FALSY,
        "_equal_ends: a[-1 - at] != b[-1 - at] -> a[-1 - at] is not b[-1 - at]": ONE_OBJECT,
        "_equal_ends: -1 - at -> -1 ^ at": "all ones without some",
        "_equal_ends: -1 - at -> -1 ^ at (2)": "all ones without some",
        "_no_accidents: kind == 0 -> kind <= 0": NATURAL,
        "_no_accidents: kinds[at] == 2 -> kinds[at] >= 2": "there is no larger kind",
        "_Search.run: a_start < a_end -> a_start != a_end": STEPPED,
        "_Search.run: b_start < b_end -> b_start != b_end": STEPPED,
        "_Search.run: a_start < a_end -> a_start != a_end (2)": STEPPED,
        "_Search.run: a[a_start] == b[b_start] -> a[a_start] is b[b_start]": ONE_OBJECT,
        "_equal_ends: a[at] != b[at] -> a[at] is not b[at]": ONE_OBJECT,
        "_Side.__init__: 1 -> 2": "one place more that is never changed",
        "_Side.equal_ahead: found < 0 -> found <= 0": "the first place is never behind a group",
        "_Side.equal_ahead: 0 -> 1": "the first place is never behind a group",
        "_Side._stretch: self.start and self.changed[self.start - 1] -> self.changed[self.start - 1]": "place -1 is never changed",
        "_no_accidents: 0 -> 1 (2)": "only differences of these sums count",
        "_no_accidents: 0 -> -1 (2)": "only differences of these sums count",
        "_Search.__init__: 3 -> 4": "one place more that nobody reads",
        "_Search.__init__: 3 -> 2": "the two outermost places hold one value, and may be one",
        "_Search.__init__: 0 -> 1": WRITTEN,
        "_Search.__init__: 0 -> -1": WRITTEN,
        "_Search.__init__: 0 -> 1 (2)": WRITTEN,
        "_Search.__init__: 0 -> -1 (2)": WRITTEN,
        "_Search._middle: first - last -> first + last": "odd where the other is odd",
        "_Search._middle: budget.steps > 0 -> budget.steps >= 0": "a step more or less where the budget ends",
        "_Search._middle: 0 -> 1": "a step more or less where the budget ends",
        "_Search._middle: 0 -> -1": "a step more or less where the budget ends",
        "_Search._middle: 1 -> 2 (2)": "loses every comparison all the same",
        "_Search._middle: 1 -> 2 (3)": "every other diagonal: the one below is not reached",
        "_Search._middle: 1 -> 2 (11)": "every other diagonal: the one below is not reached",
        "_Search._middle: odd and b_low <= k <= b_high and (backward[k] <= x) -> b_low <= k <= b_high and backward[k] <= x": SPARES,
        "_Search._middle: not odd and f_low <= k <= f_high and (x <= forward[k]) -> f_low <= k <= f_high and x <= forward[k]": SPARES,
        "_widen: low += 1 -> pass": "every other diagonal: the one below is not reached",
        "_widen: 1 -> 0 (3)": "every other diagonal: the one below is not reached",
    },
    "plan": {
        "_Table.hold_taken: holder != path -> holder is not path": ONE_OBJECT,
        "join_executable: ours.executable == base.executable -> ours.executable is base.executable": ONE_OBJECT,
        "_Table.names_kept: folder in self.wanted -> False": SPARES,
    },
    "secrets": {
        "_holds: False -> None": FALSY,
        (
            ": b'-(?:----BEGIN [A-Z0-9 ]*PRIVATE KEY|[0-9A-Za-z_-]{18}(?:(?<=sk-.{18})|(?<=glpat-.{18})|(?<=xox[a"
            "-z]-.{18})|(?<=pypi-.{18})|(?<=KEY-.{18})|(?<=GOCSPX-.{18})))' -> b''"
        ): SPARES,
        (": b'A(?:KIA[0-9A-Z]{16}|Iza[0-9A-Za-z_-]{35})' -> b''"): SPARES,
        (
            ": b'_[0-9A-Za-z]{16}(?:(?<=gh[a-z]_.{16})|(?<=pat_.{16})|(?<=npm_.{16})|(?<=live_.{16})|(?<=hf_.{16}"
            ")|(?<=v1_.{16})|(?<=shp[a-z][a-z]_.{16})|(?<=glsa_.{16}))' -> b''"
        ): SPARES,
        "name_reason: name in _ENDS_OF_PATHS and (b'/' + path.lower()).endswith(_CREDENTIAL_PATHS)"
        " -> (b'/' + path.lower()).endswith(_CREDENTIAL_PATHS)": SPARES,
        "content_reason: gate.regex.search(data) -> True": SPARES,
    },
    "state": {
        "Standing.__post_init__: (self.state is State.HALTED) != (self.halt is not None)"
        " -> (self.state is State.HALTED) is not (self.halt is not None)": ONE_OBJECT,
    },
    "wire": {
        "parse_section_head: int.from_bytes(head[1:], 'big') -> int.from_bytes(head[1:])": DEFAULT,
        "pack_section: len(payload).to_bytes(4, 'big') -> len(payload).to_bytes(4)": DEFAULT,
        "pack_delta: zstandard.ZstdCompressor(level=1) -> zstandard.ZstdCompressor()": "any level can be read; 1 is for speed",
        "pack_delta: 1 -> 2": "any level can be read; 1 is for speed",
        "pack_delta: 1 -> 0": "any level can be read; 1 is for speed",
        "parse_delta: zstandard.ZstdDecompressor().decompress(payload, allow_extra_data=False)"
        " -> zstandard.ZstdDecompressor().decompress(payload, allow_extra_data=None)": FALSY,
        "split_sections: at < len(body) -> at != len(body)": "what would go beyond was told before",
        "pack_delta: len(batch) == DELTA_CHANGES -> len(batch) >= DELTA_CHANGES": STEPPED,
        "bitmap: out[at >> 3] |= 1 << (at & 7) -> out[at >> 3] ^= 1 << (at & 7)": "each bit is set once",
        "bitmap: out[at >> 3] |= 1 << (at & 7) -> out[at >> 3] += 1 << (at & 7)": "each bit is set once",
        "_with_checked_paths: len(path) <= MAX_PATH_BYTES -> len(path) < MAX_PATH_BYTES": SPARES,
        "check_conflict: '' -> 'XXXX'": "no bound is as low as four characters",
        "check_conflict: '' -> 'x'": "no bound is as low as one character",
    },
}
