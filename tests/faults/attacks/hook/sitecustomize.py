"""Let Python watch its writes from its first line on, where a run that is attacked starts it."""

from attacks import watch

watch.begin_as_told()
