"""What mproc-timeline draws. SPDX-License-Identifier: MIT

test_timeline.py TIMELINE SAMPLE, which are mproc-timeline and trace_sample.
"""
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree

SVG = "{http://www.w3.org/2000/svg}"
XLINK = "{http://www.w3.org/1999/xlink}"
MARKS = {"failed": "#m2", "crashed": "#m3", "timed out": "#m4", "over memory": "#m5", "cancelled": "#m6", "lost": "#m7",
         "anything else": "#m8"}
FAILED, CRASHED, CANCELLED, LOST = 1, 2, 5, 6


def event(item, start, length, worker=0, outcome="ok", name="task", **more):
    return {"name": name, "cat": "item", "ph": "X", "ts": start, "dur": length, "pid": 1, "tid": worker,
            "args": dict(more, item=item, outcome=outcome)}


class Picture:
    """What can be seen in an SVG, which has to be XML without scripts or anything from elsewhere."""

    def __init__(self, svg):
        self.size = len(svg)
        self.root = ElementTree.fromstring(svg)
        self.width = float(self.root.get("width"))
        self.height = float(self.root.get("height"))
        for element in self.root.iter():
            assert element.tag.startswith(SVG) and element.tag[len(SVG):] in (
                "svg", "style", "defs", "pattern", "path", "rect", "text", "g", "use", "title"), element.tag
            for key, value in element.items():
                assert not key.startswith("on"), key
                assert not key.endswith("href") or value in MARKS.values(), value
        self.texts = [text.text for text in self.root.iter(SVG + "text")]
        groups = [g for g in self.root.iter(SVG + "g")]
        self.left = [float(re.match(r"translate\((.*),", g.get("transform"))[1]) for g in groups]
        self.rows = [g.findall(SVG + "rect") for g in groups]
        self.marks = [[(mark.get(XLINK + "href"), float(mark.get("x"))) for mark in g.findall(SVG + "use")]
                      for g in groups]
        self.titles = [[rect.find(SVG + "title").text for rect in row] for row in self.rows]

    def ground(self):
        """The width of the rows."""
        return float(next(r for r in self.root.iter(SVG + "rect") if r.get("class") == "r").get("width"))


class Timeline(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def run_tool(self, *arguments, data=None):
        return subprocess.run([TIMELINE, *arguments], input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def draw(self, trace, *arguments):
        data = trace if isinstance(trace, bytes) else json.dumps(trace).encode()
        done = self.run_tool(*arguments, "-", data=data)
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        return Picture(done.stdout)

    def refused(self, *arguments, data=None, status=1):
        done = self.run_tool(*arguments, data=data)
        self.assertEqual((done.returncode, done.stdout), (status, b""))
        self.assertNotIn(b"Sanitizer", done.stderr)
        return done.stderr.decode()

    def sample(self, *arguments):
        path = self.path("sample.json")
        subprocess.run([SAMPLE, path, *arguments], check=True)
        return path

    # ---- what is drawn

    def test_each_item_of_a_pool_is_a_rectangle_in_its_workers_row(self):
        path = self.sample("3", "30", f"4:{FAILED}", f"8:{CRASHED}")
        with open(path) as file:
            json.load(file)
        picture = Picture(self.run_tool(path).stdout)
        self.assertEqual([len(row) for row in picture.rows], [10, 10, 10])
        for text in ("sample", "worker 0", "worker 1", "worker 2", "ok 28", "failed 1", "crashed 1", "0 \u00b5s"):
            self.assertIn(text, picture.texts)
        self.assertIn("30 items on 3 workers in 309 \u00b5s, busy for 97 % of it; 2 without success", picture.texts)
        titles = "\n".join(sum(picture.titles, []))
        self.assertIn("square, item 4: failed, code 5: no luck with <4> & \"friends\"\n30.0 \u00b5s, from 31.0 "
                      "\u00b5s to 61.0 \u00b5s\nprocess 1001", titles)
        self.assertIn("square, item 8: crashed, signal 11, Segmentation fault\n", titles)
        self.assertIn("square, item 29: ok\n", titles)

    def test_places_are_to_scale(self):
        picture = self.draw([event(0, 1000, 250), event(1, 1500, 500), event(2, 1250, 1, worker=1)])
        width = picture.ground()
        first, second = picture.rows[0]
        self.assertAlmostEqual(float(first.get("x")), 0, delta=1)
        self.assertAlmostEqual(float(first.get("width")), width / 4, delta=1)
        self.assertAlmostEqual(float(second.get("x")), width / 2, delta=1)
        self.assertAlmostEqual(float(second.get("width")), width / 2, delta=1)
        self.assertAlmostEqual(float(picture.rows[1][0].get("x")), width / 4, delta=1)
        self.assertIn("75 %", picture.texts)
        self.assertIn("0.1 %", picture.texts)

    def test_it_is_as_wide_as_it_is_told(self):
        for width in 400, 1200, 20000:
            self.assertEqual(self.draw([event(0, 0, 1)], "--width", str(width)).width, width)
        self.assertEqual(self.draw([event(0, 0, 1)]).width, 1200)

    def test_each_way_to_fail_has_its_colour_pattern_and_mark(self):
        kinds = list(MARKS)
        picture = self.draw([event(i, i * 10, 10, outcome=kind) for i, kind in enumerate(kinds)])
        classes = [rect.get("class") for rect in picture.rows[0]]
        self.assertEqual(len(set(classes)), len(kinds))
        self.assertEqual([mark[0] for mark in picture.marks[0]], list(MARKS.values()))
        style = picture.root.find(SVG + "style").text
        patterns = {pattern.get("id"): ElementTree.tostring(pattern) for pattern in picture.root.iter(SVG + "pattern")}
        for name in classes:
            self.assertIn(f".{name}{{fill:url(#{name})}}", style)
            self.assertIn(name, patterns)
        drawn = {(p.find(SVG + "path").get("d"), p.find(SVG + "rect").get("fill"))
                 for p in picture.root.iter(SVG + "pattern")}
        self.assertEqual((len({d for d, _ in drawn}), len({fill for _, fill in drawn})), (len(kinds), len(kinds)))

    def test_ticks_are_round(self):
        for span, expected in ((1e6, "0.5 s"), (2e-2, "10 ns"), (7e3, "3 ms"), (90e6, "60 s"), (600e6, "2:00"),
                               (86400e6, "6:00:00"), (9e9, "1:00:00")):
            texts = self.draw([event(0, 5e9, span)]).texts
            ticks = [t for t in texts if re.fullmatch(r"[\d.:]+( (s|ms|\u00b5s|ns))?", t or "")]
            self.assertTrue(5 <= len(ticks) <= 20, ticks)
            self.assertIn(expected, ticks)

    def test_threads_of_several_processes_have_headings(self):
        events = [{"ph": "M", "name": "process_name", "pid": 7, "args": {"name": "first"}},
                  {"ph": "M", "name": "thread_name", "pid": 7, "tid": "b", "args": {"name": "second of first"}},
                  {"ph": "M", "name": "thread_sort_index", "pid": 7, "tid": "b", "args": {"sort_index": -1}},
                  {"ph": "X", "pid": 7, "tid": "a", "ts": 1, "dur": 1},
                  {"ph": "X", "pid": 7, "tid": "b", "ts": 2.5, "dur": 1},
                  {"ph": "X", "pid": "x", "tid": 10, "ts": 2},
                  {"ph": "X", "pid": "x", "tid": 9, "ts": 2, "dur": 1, "id": 99999999999999999999999},
                  {"ph": "B", "pid": 9, "tid": 9, "ts": 2, "name": "begins"}, {}, [], 5, None]
        trace = {"displayTimeUnit": "ms", "other": [{"traceEvents": "]}"}], "traceEvents": events, "z": 1}
        texts = self.draw(trace).texts
        order = ["2 processes", "first", "second of first", "thread a", "process x", "thread 9", "thread 10"]
        self.assertEqual([text for text in texts if text in order], order)

    def test_any_name_is_only_text(self):
        name = "<script>alert('&\"')</script>\u0001\u0007\ufffe\uffff]]>\n\u20ac\U0001f30d"
        events = [event(0, 0, 5, outcome="failed", name=name, message=name, where=name),
                  event(1, 0, 5, outcome=name, worker=1)]
        events += [{"ph": "M", "name": what, "pid": 1, "tid": 0, "args": {"name": name}}
                   for what in ("process_name", "thread_name")]
        picture = self.draw(events)
        shown = name.replace("\u0001", "\ufffd").replace("\u0007", "\ufffd").replace("\ufffe", "\ufffd")
        shown = shown.replace("\uffff", "\ufffd")
        self.assertIn(shown, picture.texts)
        self.assertIn(f"{shown}, item 0: failed: {shown} ({shown})", picture.titles[0][0])
        long = self.draw([event(0, 0, 5, name="\u20ac" * 10000), {"ph": "M", "name": "process_name", "pid": 1,
                                                                 "args": {"name": "\u20ac" * 10000}}])
        self.assertLess(long.size, 10000)

    def test_time_that_two_items_share_is_busy_once(self):
        texts = self.draw([event(0, 0, 50), event(1, 10, 10), event(2, 25, 50), event(3, 0, 100, worker=1)]).texts
        self.assertIn("75 %", texts)
        self.assertIn("100 %", texts)

    # ---- much

    def test_one_failure_among_a_million_is_seen(self):
        failures = {1000: CRASHED, 500000: FAILED, 500001: LOST, 777777: CANCELLED, 999999: CRASHED}
        path = self.sample("8", "1000000", *(f"{item}:{kind}" for item, kind in failures.items()))
        output = self.path("sample.svg")
        self.assertEqual(self.run_tool("-o", output, path).returncode, 0)
        with open(output, "rb") as file:
            picture = Picture(file.read())
        self.assertLess(picture.size, 100000)
        self.assertIn("1,000,000 items on 8 workers in 3.87 s, busy for 97 % of it; 5 without success", picture.texts)
        names = {FAILED: "failed", CRASHED: "crashed", CANCELLED: "cancelled", LOST: "lost"}
        for item, kind in failures.items():
            place = item // 8 / 125000 * picture.ground()
            self.assertEqual([mark[0] for mark in picture.marks[item % 8] if abs(mark[1] - place) < 2],
                             [MARKS[names[kind]]])
            self.assertTrue(any(f"item {item}: " in title for title in picture.titles[item % 8]))
        self.assertEqual(sum(map(len, picture.marks)), 5)

    def test_each_of_many_failures_has_a_mark_near(self):
        events = [event(i, i // 4 * 10, 9, worker=i % 4, outcome="failed" if i * i % 7 == 2 else "ok")
                  for i in range(40000)]
        events += [event(i, 1e5 + i * 100, 3, worker=4, outcome="crashed" if i % 2 else "lost") for i in range(20)]
        picture = self.draw(events)
        self.assertLess(picture.size, 1000000)
        scale = picture.ground() / 1e5 / (1 + 19 * 100 / 1e5 + 3 / 1e5)
        for e in events:
            kind = e["args"]["outcome"]
            if kind != "ok":
                place = (e["ts"] + e["dur"] / 2) * scale
                self.assertTrue(any(mark == MARKS[kind] and abs(x - place) <= 4 for mark, x in picture.marks[e["tid"]]))

    def test_short_items_that_go_together_are_counted(self):
        picture = self.draw([event(i, i * 10, 5) for i in range(100000)])
        self.assertLess(picture.size, 20000)
        counts = [int(title.split(" ")[0].replace(",", "")) for title in picture.titles[0] if "items: ok" in title]
        self.assertEqual(sum(counts) + sum("item " in title for title in picture.titles[0]), 100000)
        self.assertIn("50 %", picture.texts)

    def test_a_thousand_rows_are_not_too_much(self):
        picture = self.draw([event(i, i // 1000 * 100 + i % 97, 90, worker=i % 1000,
                                   outcome="crashed" if i % 1009 == 0 else "ok") for i in range(100000)])
        self.assertEqual(len(picture.rows), 1000)
        self.assertLess(picture.size, 5000000)
        self.assertEqual(sum(map(len, picture.marks)), 100)

    # ---- what is read

    def test_the_end_may_be_missing_anywhere(self):
        text = subprocess.run([SAMPLE, "-", "2", "3", f"1:{FAILED}"], stdout=subprocess.PIPE, check=True).stdout
        text = text.replace(b'"square"', '"squ\\u00e4re \u20ac\U0001f30d"'.encode()).replace(b":1000,", b":-1.5e+3,")
        self.assertEqual(text.count(b'"X"'), 3)
        ends = [i for i in range(len(text) + 1)
                if text[:i].endswith(b"}}") and b'"X"' in text[text.rfind(b"\n", 0, i):i]]
        for length in list(range(0, len(text) - 300, 7)) + list(range(len(text) - 300, len(text) + 1)):
            whole = sum(end <= length for end in ends)
            done = self.run_tool("-", data=text[:length])
            self.assertEqual(done.returncode, 0 if whole else 1, (length, done.stderr))
            if whole:
                self.assertEqual(sum(map(len, Picture(done.stdout).rows)), whole)
                self.assertIn(b"the record is not finished", done.stdout)
            else:
                self.assertIn(b"it is empty" if length == 0 else b"there are no events in it", done.stderr)
        self.assertNotIn(b"the record is not finished", self.run_tool("-", data=text + b"\n]\n").stdout)
        self.assertIn(b"the record is not finished", self.run_tool("-", data=b'{"traceEvents":' + text).stdout)

    def test_forms_that_other_programs_write(self):
        one = json.dumps(event(0, 0, 1))
        for text in (f"[{one},]", f"\ufeff [ {one} ] \n", f'{{"traceEvents":[{one}]}}',
                     f'{{"a":1,"traceEvents" : [ {one},\n]}}', f'{{"traceEvents":[{one}],"b":[[{{}}]]}}'):
            self.assertEqual(len(self.draw(text.encode()).rows), 1)

    def test_what_is_wrong_is_told_with_its_line(self):
        one = json.dumps(event(0, 0, 1))
        for text, line, words in ((f"[\n{one},\n{{\"a\" 5}},\n{one}]", 3, "expected"),
                                  (f"[\n{one}\n{one}]", 3, "comma"),
                                  (f"[\n{one},\n\n\n{{\n\"a\":\nx}},\n{one}]", 7, "invalid token"),
                                  ("hello", 1, "[ or {"),
                                  (f"[{one}]\nmore", 2, "more behind the end"),
                                  (f'{{"traceEvents":[{one}]\n"b":1}}', 2, "comma"),
                                  (f'{{"a" 1,"traceEvents":[{one}]}}', 1, "key"),
                                  ('{"a":', 1, "not JSON"),
                                  ("[" * 100000, 1, "not JSON")):
            path = self.path("wrong.json")
            with open(path, "w") as file:
                file.write(text)
            message = self.refused(path)
            self.assertTrue(message.startswith(f"mproc-timeline: {path}:{line}: not JSON: "), message)
            self.assertIn(words, message)
        for text, words in ((b"", "it is empty"), (b" \n", "it is empty"), (b"[]", "no events"), (b"[", "no events"),
                            (b'[{"ph":"X"}]', "no events"),
                            (b'[{"ph":"X","ts":1e308},{"ph":"X","ts":0,"dur":1e308}]', "no events"), (b'{"a":1}', "no traceEvents"), (b"{}", "no traceEvents")):
            self.assertIn("mproc-timeline: standard input: ", self.refused("-", data=text))
            self.assertIn(words, self.refused("-", data=text))

    # ---- how it is used

    def test_files_that_cannot_be_opened_are_named(self):
        nowhere = self.path("nowhere")
        self.assertEqual(self.refused(nowhere), f"mproc-timeline: {nowhere}: No such file or directory\n")
        self.assertIn("Is a directory", self.refused(self.folder.name))
        one = json.dumps([event(0, 0, 1)]).encode()
        self.assertIn("No such file", self.refused("-o", self.path("no/where"), "-", data=one))
        self.assertIn("No space left", self.refused("-o", "/dev/full", "-", data=one))

    def test_a_picture_stays_if_the_trace_cannot_be_read(self):
        output = self.path("old.svg")
        with open(output, "w") as file:
            file.write("old")
        self.refused("-o", output, "-", data=b"nonsense")
        with open(output) as file:
            self.assertEqual(file.read(), "old")

    def test_it_says_how_it_is_used(self):
        done = self.run_tool("--help")
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        for option in (b"--width", b"--output", b"--version", b"--help"):
            self.assertIn(option, done.stdout)
        self.assertRegex(self.run_tool("--version").stdout, rb"^mproc-timeline \d+\.\d+\.\d+\n$")
        for wrong in ([], ["a", "b"], ["--nonsense", "a"], ["--width", "wide", "a"], ["--width", "10", "a"],
                      ["--width", "99999999999999999999", "a"], ["--width", "500x", "a"], ["-o"]):
            self.assertIn("--help", self.refused(*wrong, status=2))


if __name__ == "__main__":
    TIMELINE, SAMPLE = sys.argv.pop(1), sys.argv.pop(1)
    unittest.main()
