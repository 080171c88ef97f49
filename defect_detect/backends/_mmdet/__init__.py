"""Parts of the mmdet backend; the imports of mmdet, mmengine and mmcv happen behind `environment.start`."""
