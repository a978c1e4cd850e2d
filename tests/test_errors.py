from mm_fairseq.errors import named


def test_the_first_few_are_named():
    assert named(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"
    assert named(["a", "b", "c"]) == "a, b, c"
    assert named(["a", "b"], 1) == "a and 1 more"
    assert named([]) == ""
