"""What several test files share: inputs whose truth is known, and readers of what a run wrote.

``setup.cfg`` puts the folder of the tests on the path, so that any test file imports it::

    from testing.studies import score
"""
