from __future__ import annotations

import pytest

from deeplab_caffe.errors import PrototxtError
from deeplab_caffe.proto.text.templates import fill_template, strip_comments, template_variables


def test_mapping_comes_before_the_environment(monkeypatch):
    monkeypatch.setenv("EXP", "from_env")
    monkeypatch.setenv("NET_ID", "vgg")
    text = 'source: "${EXP}/list/${NET_ID}.txt"'
    assert fill_template(text, {"EXP": "voc12"}) == 'source: "voc12/list/vgg.txt"'
    assert fill_template(text) == 'source: "from_env/list/vgg.txt"'


def test_values_need_not_be_text():
    assert fill_template("num_output: ${NUM_LABELS}", {"NUM_LABELS": 21}) == "num_output: 21"


def test_an_empty_value_is_a_value():
    assert fill_template('root_folder: "${DATA_ROOT}"', {"DATA_ROOT": ""}) == 'root_folder: ""'


def test_a_value_is_not_filled_again():
    assert fill_template("a: ${A}", {"A": "${B}"}) == "a: ${B}"


def test_unfilled_variables_are_named_with_their_lines(monkeypatch):
    for name in ("TRAIN_SET", "FG_BIAS"):
        monkeypatch.delenv(name, raising=False)
    text = 'name: "x"\nsource: "${TRAIN_SET}"\nfg_bias: ${FG_BIAS}\nagain: ${TRAIN_SET}'
    with pytest.raises(
        PrototxtError, match=r"train.prototxt:2: no value for \$\{TRAIN_SET\}.*\$\{FG_BIAS\} \(line 3\)"
    ) as e:
        fill_template(text, {}, "train.prototxt")
    assert e.value.line == 2


def test_comments_do_not_count(monkeypatch):
    monkeypatch.delenv("NOPE", raising=False)
    text = '# ${NOPE}\nname: "a#b"  # ${NOPE} "\n  #${'
    assert fill_template(text) == '\nname: "a#b"  \n  '
    assert template_variables(text + '\nx: "# ${YES}"') == {"YES": 4}


@pytest.mark.parametrize("bad", ["${", "${}", "${A B}", "${1A}", '"${A"', "${A}${"])
def test_malformed_variables(bad):
    with pytest.raises(PrototxtError, match=r"<string>:2: .*not followed by a variable's name"):
        fill_template(f"\nx: {bad}", {"A": "1"})


@pytest.mark.parametrize("value", ["1\n2", "1\r2"])
def test_a_value_with_a_line_break_is_refused(value):
    with pytest.raises(PrototxtError, match=r"\$\{A\} contains a line break"):
        fill_template("x: ${A}", {"A": value})


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("a: 1 # b", "a: 1 "),
        ('a: "#" # b', 'a: "#" '),
        ("a: '#' # b", "a: '#' "),
        ("a: '\"#' # b", "a: '\"#' "),
        (r'a: "\"#" # b', r'a: "\"#" '),
        (r"a: \n # b", r"a: \n "),
        ("""a: "'" # '""", """a: "'" """),
        ('a: "no end # x', 'a: "no end # x'),
        ('a: "no end\\', 'a: "no end\\'),
        ("#", ""),
        ("", ""),
    ],
)
def test_strip_comments(line, code):
    assert strip_comments(line) == code
    assert strip_comments(f"{line}\nx: 1") == f"{code}\nx: 1"


def test_comment_stripping_is_linear():
    # Nested quantifiers would take longer than the age of the universe here.
    assert strip_comments("a" * 100_000 + '"' * 9_999) == "a" * 100_000 + '"' * 9_999


@pytest.mark.parametrize("variables", [3, "A=b", [("A", "b")]])
def test_variables_are_a_mapping(variables: object) -> None:
    with pytest.raises(TypeError, match="variables must be a dict of values by name, got "):
        fill_template("${A}", variables)
