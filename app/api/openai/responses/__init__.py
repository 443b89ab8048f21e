"""OpenAI's Responses API: answers that are items, kept so that the next request can go on from them.

route -> wire (what was asked) -> items (as the stages' Prompt) -> gateway -> output (the answer's items) -> answer.
"""
