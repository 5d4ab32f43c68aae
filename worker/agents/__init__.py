"""What a model may do by itself, and how it is held.

Read in this order: agent, act, complaint, planned, plan, assessment;
then what an agent is shown: window, withheld, summary, extract; and how it is asked: voice.
"""
