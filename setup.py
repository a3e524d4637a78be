"""The packages of `mnet`: each top-level folder of code is imported below `mnet`; pyproject.toml holds all else."""

from setuptools import find_packages, setup

FOLDERS = {
    "mnet": "mnet",
    "mnet.device_models": "device_models",
    "mnet.export": "export",
    "mnet.toolchain": "toolchain",
}

setup(
    package_dir=FOLDERS,
    packages=[
        package
        for name, folder in FOLDERS.items()
        for package in (name, *(f"{name}.{inner}" for inner in find_packages(folder)))
    ],
)
