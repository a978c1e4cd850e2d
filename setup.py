"""Package metadata. The build needs torch, numpy and cython in place first: see `make .venv` and README.md."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'^__version__ = "(.+)"$', (HERE / "mm_fairseq" / "__init__.py").read_text(encoding="utf-8"), re.M)
HF = ["transformers>=5,<6", "tokenizers>=0.22", "safetensors>=0.6"]
OPENSMILE = ["opensmile>=2.6"]
PANDAS = ["pandas>=2.2", "pyarrow>=16"]
GRAPH = ["torch_geometric>=2.7,<3"]
SLURM = ["submitit>=1.5.3,<2"]
RAY = ["ray>=2.50,<3"]
HDF5 = ["h5py>=3.12"]
# python-multipart bounds the headers of a part since 0.0.27 (CVE-2026-42561); 0.0.34 is the one that is tested
SERVE = ["fastapi>=0.115", "uvicorn>=0.34", "python-multipart>=0.0.34"]
EXPORT = ["onnx>=1.17", "onnxscript>=0.5", "onnxruntime>=1.20"]

setup(
    name="mm-fairseq",
    version=VERSION[1],
    description="Speech, text and video in one fairseq plugin: emotion recognition from raw corpora to reports",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="mm_fairseq contributors",
    license="MIT",
    python_requires=">=3.11,<3.13",
    packages=find_packages(include=["mm_fairseq", "mm_fairseq.*"]),
    package_data={"mm_fairseq": ["py.typed", "report/templates/*", "inference/server/page/*"]},
    install_requires=[
        # torch, torchaudio and torchvision only work as one matched set.
        "torch==2.11.*",
        "torchaudio==2.11.*",
        "torchvision==0.26.*",
        "fairseq-fixed==0.12.3.1",
        "hydra-core==1.3.2",
        "omegaconf==2.3.0",
        "numpy>=2.1,<2.5",
        "scikit-learn>=1.5",
        "scipy>=1.15",
        "soundfile>=0.13",
        "soxr>=0.5",
        "av>=18.1,<19",
        # OpenCV 5 wheels have neither CascadeClassifier nor the Haar cascades of the face finder.
        "opencv-python-headless>=4.12,<5",
        "sentencepiece>=0.2.1",
        "fastBPE==0.1.0",
        "regex",
        "jinja2>=3.1",
        "matplotlib>=3.9",
        "PyYAML>=6",
        "rich>=13",
        "safetensors>=0.6",
        "tensorboardX>=2.6",
        "tqdm>=4.66",
    ],
    extras_require={
        "wandb": ["wandb>=0.22"],
        "hf": HF,
        "opensmile": OPENSMILE,
        "pandas": PANDAS,
        "graph": GRAPH,
        "hdf5": HDF5,
        "perceiver": HF,
        "slurm": SLURM,
        "ray": RAY,
        "serve": SERVE,
        "export": EXPORT,
        "dev": [
            *HF,
            *GRAPH,
            *HDF5,
            *OPENSMILE,
            *PANDAS,
            *RAY,
            *SLURM,
            *SERVE,
            *EXPORT,
            "httpx>=0.27",
            "hypothesis>=6.100",
            "ipykernel>=6.29",
            "mypy>=1.15",
            "nbclient>=0.10",
            "nbformat>=5.10",
            "playwright>=1.50",
            "pre-commit>=4",
            "pytest>=8.3",
            "pytest-timeout>=2.3",
            "ruff>=0.12",
            "wandb>=0.22",
        ],
    },
    entry_points={"console_scripts": ["mm-fairseq = mm_fairseq.cli:main"]},
    zip_safe=False,
)
