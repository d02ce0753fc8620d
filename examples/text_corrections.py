# %% [markdown]
# # Texts, with corrections of explanations
#
# A model may be right for the wrong reasons. Here every positive review of the training data comes from `alice` and
# every negative one from `bob`, so the model looks at the names. Corrections make it look at the words.

# %%
import numpy as np

import xal
from xal.explainers.visualization import summary

GOOD = ["lovely", "great", "moving", "funny", "brilliant"]
BAD = ["dull", "boring", "weak", "clumsy", "terrible"]
THINGS = ["plot", "cast", "music", "ending", "dialogue"]
generator = np.random.default_rng(0)


def review(good: bool, author: str) -> str:
    """A sentence with an opinion."""
    word, thing = generator.choice(GOOD if good else BAD), generator.choice(THINGS)
    return f"{author} says the {thing} is {word}"


labels = ["good" if number % 2 else "bad" for number in range(200)]
texts = [review(label == "good", "alice" if label == "good" else "bob") for label in labels]
test_labels = ["good" if number % 2 else "bad" for number in range(100)]
test_texts = [review(label == "good", "bob" if label == "good" else "alice") for label in test_labels]  # swapped
print(texts[0])

# %% [markdown]
# ## Without corrections


# %%
def campaign(correct: bool) -> xal.Learner:
    """Four batches of ten labels; with corrections the names of the authors are marked as wrong."""
    learner = xal.Learner(
        texts,
        model={"name": "logistic_regression", "encoder": "tfidf", "C": [10.0], "calibrate": False},
        explainer={"name": "shap_linear"},
        feedback={"name": "counterexamples", "replacement": "alternative"},
        classes=["bad", "good"],
        test=(test_texts, test_labels),
    )
    for _ in range(4):
        batch = learner.ask(10)
        corrections = {}
        for place, item in enumerate(batch):
            text = texts[item.row]
            shown = batch.explanations.get(item.id)
            if correct and shown is not None:
                corrections[place] = {"wrong": [text.split()[0]]}
        learner.tell(batch, [labels[item.row] for item in batch], corrections)
    return learner


uncorrected = campaign(correct=False)
accuracy = (uncorrected.predict(test_texts) == test_labels).mean()
print(f"accuracy where the authors are swapped, uncorrected: {accuracy:.2f}")

# %% [markdown]
# ## With corrections
#
# `tell` takes corrections by place in the batch, or by id: the names of words that were shown as relevant and are not.
# The feedback `counterexamples` then also trains on copies of these texts without those words.

# %%
corrected = campaign(correct=True)
accuracy = (corrected.predict(test_texts) == test_labels).mean()
print(f"accuracy where the authors are swapped, corrected: {accuracy:.2f}")
print(f"corrections in the ledger: {len(corrected.run.corrections)}")

# %% [markdown]
# ## Why

# %%
for name, learner in (("uncorrected", uncorrected), ("corrected", corrected)):
    print(f"{name}: {summary(test_texts[1], learner.explain([test_texts[1]]))}")
