import numpy as np
import pytest

from activedpo_lib.method.evaluation import evaluate
from activedpo_lib.method.formulas import preference_probability
from activedpo_lib.method.oracles import OracleFailed, label, utility_score
from activedpo_lib.records import Pair, Pool, Prompt, Response
from activedpo_lib.streams import stream


def pairs(count, gap=1.0):
    prompt = Prompt("p", "x")
    return [
        Pair(prompt, (3,), Response("p", (i, 1), str(i * gap)), Response("p", (i, 2), "0"))
        for i in range(1, count + 1)
    ]


def by_number(prompts, texts):
    return np.array([float(text) for text in texts])


def test_argmax_labels_follow_the_oracle():
    labelled = label(by_number, pairs(20, -1.0), stream=stream(0, "l"), round=3)
    assert all(p.chosen.text == "0" and p.round == 3 for p in labelled)


def test_equal_rewards_are_decided_by_the_stream():
    labelled = label(by_number, pairs(400, 0.0), stream=stream(0, "l"))
    share = np.mean([p.chosen.tokens[1] == 1 for p in labelled])
    assert 0.4 < share < 0.6


def test_bradley_terry_labels_have_its_probability():
    prompt = Prompt("p", "x")
    many = [
        Pair(prompt, (3,), Response("p", (i, 1), "1"), Response("p", (i, 2), "0"))
        for i in range(3000)
    ]
    share = np.mean(
        [
            p.chosen.text == "1"
            for p in label(by_number, many, "bradley_terry", stream=stream(0, "l"))
        ]
    )
    assert abs(share - preference_probability(1, 0)) < 4 * np.sqrt(0.25 / 3000)


def test_flips_turn_their_share_of_labels():
    share = np.mean(
        [
            p.chosen.text == "0"
            for p in label(by_number, pairs(3000), stream=stream(0, "l"), flip=0.2)
        ]
    )
    assert abs(share - 0.2) < 4 * np.sqrt(0.16 / 3000)


def test_labels_do_not_depend_on_the_order_of_the_pairs():
    some = pairs(50, 0.01)
    straight = label(by_number, some, "bradley_terry", 0.1, stream=stream(0, "l"))
    turned = label(by_number, some[::-1], "bradley_terry", 0.1, stream=stream(0, "l"))
    assert straight == turned[::-1]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_reward_that_is_not_finite_labels_nothing(bad):
    score = utility_score(lambda _prompt, text: bad if text == "3.0" else 0.0)
    with pytest.raises(
        OracleFailed, match="1 of 20 rewards that are NaN or infinite; nothing was labelled"
    ):
        label(score, pairs(20), stream=stream(0, "l"))


def test_an_unknown_rule_is_named():
    with pytest.raises(ValueError, match="argmax or bradley_terry, not 'best'"):
        label(by_number, pairs(1), "best", stream=stream(0, "l"))


def test_evaluation_measures_are_the_direct_formulas():
    prompts = (Prompt("a", "x"), Prompt("b", "y"))
    texts = ["1", "2", "2", "4"]
    responses = tuple(Response("ab"[i // 2], (int(t), 1), t) for i, t in enumerate(texts))
    pool = Pool(
        prompts, ((3,), (3,)), responses, np.array([0, 0, 1, 1]), np.zeros((0, 2), dtype=int)
    )
    measures, rewards = evaluate(
        pool, 2, by_number, np.array([[1.0, 1.0], [5.0, 3.0]]), lambda p, t: -float(t)
    )
    assert rewards.tolist() == [[1, 2], [2, 4]]
    assert measures["reward"] == 2.25
    assert measures["utility"] == -2.25
    assert measures["win_rate"] == ((0.5 + 0.5 + 1 + 1) / 4 + (0 + 0 + 0 + 1) / 4) / 2
    assert measures["length"] == 2
    assert measures["distinct"] == 1.0
