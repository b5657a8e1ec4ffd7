"""Package metadata. The version is read from ``dkp_plugin/host/version.py`` without importing it."""

import re
import sys
from pathlib import Path

if sys.version_info >= (3, 13):
    raise SystemExit(
        "dkp-plugin: BasicSR 1.4.2's source package does not build on Python 3.13 or newer; use Python 3.10 to 3.12."
    )

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent
REPOSITORY = ''  # public address of the repository, such as https://github.com/OWNER/dkp_plugin


def read_version() -> str:
    text = (HERE / 'dkp_plugin' / 'host' / 'version.py').read_text(encoding='utf-8')
    return re.search(r"^__version__ = '([^']+)'$", text, re.MULTILINE).group(1)


def read_readme() -> str:
    """The README for a package index, where links to files of the repository lead nowhere unless they are absolute."""
    readme = HERE / 'README.md'
    text = readme.read_text(encoding='utf-8') if readme.exists() else ''
    relative = r'\]\((?!https?://|#)([^)]+)\)'
    if REPOSITORY:
        text = re.sub(r'(!\[[^\]]*)' + relative, rf'\1]({REPOSITORY}/raw/main/\2)', text)
        return re.sub(relative, rf']({REPOSITORY}/blob/main/\1)', text)
    text = re.sub(r'!\[[^\]]*' + relative + r'\n*', '', text)
    return re.sub(r'\[([^\]]*)' + relative, r'\1', text)


class BuildWithOptions(build_py):
    """Puts the option files of the repository into the package, unless it is installed in editable mode."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            for path in sorted((HERE / 'options').rglob('*.*')):
                target = Path(self.build_lib, 'dkp_plugin', path.relative_to(HERE))
                self.mkpath(str(target.parent))
                self.copy_file(str(path), str(target))


setup(
    name='dkp-plugin',
    version=read_version(),
    description='Unsupervised blind super-resolution with a dynamic kernel prior, as a plug-in for BasicSR',
    long_description=read_readme(),
    long_description_content_type='text/markdown',
    author='dkp_plugin developers',
    url=REPOSITORY,
    project_urls={
        'DKP (CVPR 2024)': 'https://arxiv.org/abs/2404.15620',
        'BasicSR': 'https://github.com/XPixelGroup/BasicSR',
        **({'Changelog': f'{REPOSITORY}/blob/main/CHANGELOG.md'} if REPOSITORY else {}),
    },
    license='Apache-2.0',
    license_files=['LICENSE'],
    keywords='blind super-resolution, blur kernel estimation, deep image prior, diffusion, BasicSR',
    classifiers=[
        'Development Status :: 3 - Alpha',
        'Intended Audience :: Science/Research',
        'Operating System :: OS Independent',
        'Programming Language :: Python :: 3.10',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Topic :: Scientific/Engineering :: Image Processing',
    ],
    packages=find_packages(include=['dkp_plugin*']),
    # Outside the package, whose import is slow and may be what is broken.
    py_modules=['dkp_command', 'dkp_doctor', 'dkp_restore'],
    entry_points={
        'console_scripts': ['dkp=dkp_command:main', 'dkp-restore=dkp_restore:main', 'dkp-doctor=dkp_doctor:main']
    },
    cmdclass={'build_py': BuildWithOptions},
    package_data={
        'dkp_plugin': [
            'archs/weights/*',
            'archs/weights/*/*',
            'data/*.json',
            'evaluation/comparison/*.j2',
            'evaluation/comparison/*.yml',
            'photos/*.j2',
            'py.typed',
        ]
    },
    python_requires='>=3.10,<3.13',
    # BasicSR is needed but not named here. Its own requirements include tb-nightly, and its build asks for a torch of
    # its own, so pip would fetch a nightly package and a second torch. Once torch is installed, it goes in by
    #     pip install --no-build-isolation --no-deps basicsr==1.4.2
    # (scripts/setup_env.sh does that), and its needs are listed here instead: the first two groups.
    install_requires=[
        # Used by BasicSR and by this package.
        'lmdb',
        'numpy',
        'opencv-python',
        'pyyaml',
        'scipy',
        'torch',
        'torchvision',
        'tqdm',
        # Imported by BasicSR alone. Its addict, future, yapf, Pillow and scikit-image are named in its requirements,
        # but no module of 1.4.2 imports them (addict and yapf arrive with mmengine).
        'requests',
        'setuptools; python_version >= "3.12"',  # for distutils.version, gone from the standard library
        # Used by this package alone.
        'mmengine',
        'pillow',
        'pydantic>=2',
        'safetensors',
    ],
    extras_require={
        'train': ['tensorboard'],  # only for `use_tb_logger: true`
        'report': ['jinja2'],  # dkp-restore --report, scripts/compare.py; torch brings it along as things are
        'heif': ['pillow-heif'],  # photographs of phones; read where it is installed
        # scikit-image and tifffile serve the demo and the benchmarks as well.
        'dev': ['jsonschema', 'pytest', 'pytest-xdist', 'ruff', 'scikit-image', 'tifffile'],
    },
    zip_safe=False,
)
