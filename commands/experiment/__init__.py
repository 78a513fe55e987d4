"""The options of an experiment, declared once, and the experiment behind the options."""
