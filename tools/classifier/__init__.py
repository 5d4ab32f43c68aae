"""The local classifier: which category a text is of, how sure that is, and when not to say.

Read in this order: features, model, modelfile, threshold, labelled, training, shelf, classify.
Only `training` imports scikit-learn, and only a process that trains imports `training`.
"""
