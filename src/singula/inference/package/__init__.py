"""Model packages: zip files in the format of the BioImage Model Zoo."""

from singula.inference.package.write import write_package

__all__ = ["write_package"]
