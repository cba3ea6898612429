"""How strongly `light` is augmented: for tests of what the paper's networks do without."""

from tubedet.training.recipes import LightRecipe
from tubedet.training.train_detector import augmentation_of

LIGHT = augmentation_of(LightRecipe())
