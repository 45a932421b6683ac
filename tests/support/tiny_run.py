"""Configuration of a run that takes seconds; fill in the folder of the data."""

TINY_RUN = """\
PROBLEM:
  TYPE: INSTANCE_SEG
  NDIM: 2D
  INSTANCE_SEG: {{DATA_CHANNELS: BC}}
DATA:
  PATCH_SIZE: (32, 32, 1)
  TRAIN: {{PATH: {data}/x, GT_PATH: {data}/y}}
  VAL: {{FROM_TRAIN: True, SPLIT_TRAIN: 0.5}}
  TEST: {{LOAD_GT: True, PATH: {data}/x, GT_PATH: {data}/y}}
MODEL: {{FEATURE_MAPS: [4, 8]}}
TRAIN: {{ENABLE: True, EPOCHS: 1, BATCH_SIZE: 2, OPTIMIZER: ADAMW, LR: 1.E-2, PRECISION: "32"}}
TEST: {{ENABLE: True}}
"""
