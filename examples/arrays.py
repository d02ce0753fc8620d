# %% [markdown]
# # Arrays
#
# `xal.query` asks a strategy about probabilities that you already have. `xal.Learner` keeps the model, the labels and
# the run for you.

# %%
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

import xal

digits = load_digits()
X, y = digits.data, digits.target
print(f"{len(X)} images of digits as rows of {X.shape[1]} numbers, {len(set(y))} classes")

# %% [markdown]
# ## One query
#
# Fit any model, then ask which rows to label next. The result holds positions, scores and the strategy that chose each
# item.

# %%
labelled = list(range(40))
model = LogisticRegression(max_iter=2000).fit(X[labelled], y[labelled])
selection = xal.query("margin", probabilities=model.predict_proba(X), labelled=labelled, n=5)
for position, score in zip(selection.positions, selection.scores, strict=True):
    print(f"row {position}: margin {-score:.3f}, true class {y[position]}")

# %% [markdown]
# Strategies combine. This one chooses five items by margin among 300 that are spread over the clusters of the data.

# %%
spread = {"name": "candidates", "strategy": "margin", "n": 300, "candidates_from": {"name": "diverse", "clusters": 10}}
selection = xal.query(spread, probabilities=model.predict_proba(X), embeddings=X, labelled=labelled, n=5)
print("spread:", selection.positions.tolist())

# %% [markdown]
# ## Ask and tell
#
# The learner trains after each batch. Here the labels of the data set answer; in your notebook a person does.

# %%
names = [str(name) for name in digits.target_names]
test = (X[1500:], [names[number] for number in y[1500:]])
learner = xal.Learner(
    X[:1500],
    model=LogisticRegression(max_iter=2000),
    strategy="margin",
    explainer={"name": "shap_partition", "max_evals": 64},
    classes=names,
    test=test,
)
for _ in range(3):
    batch = learner.ask(20)
    learner.tell(batch, [names[y[position]] for position in batch.positions])
print(batch)

# %%
accuracy = (learner.predict(X[1500:]) == test[1]).mean()
spent, curve = learner.run.curve()
print("accuracy by number of labels:", {n: round(value, 3) for n, value in zip(spent, curve, strict=True)})
print(f"accuracy of the learner after 60 labels: {accuracy:.3f}")

# %% [markdown]
# ## Why
#
# An explanation says how much each column speaks for a class.

# %%
explanations = learner.explain(X[1500:1503])
for number, column in enumerate(explanations.top_feature):
    predicted = names[explanations.explained_class[number]]
    amount = explanations.attributions[number, column]
    print(f"row {1500 + number} is a {predicted}: pixel {divmod(int(column), 8)} adds {amount:+.3f} to its probability")
