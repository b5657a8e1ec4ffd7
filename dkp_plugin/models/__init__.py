"""The models that BasicSR's pipelines run."""
