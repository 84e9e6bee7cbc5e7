"""Adaptive binary arithmetic coding: what a code will be is predicted from its neighbours, and learned on the way."""
