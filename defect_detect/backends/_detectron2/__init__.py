"""Parts of the detectron2 backend; the imports of detectron2 and torch happen behind `environment.installed`."""
