# bids_sexclf as a BIDS App. Build:  docker build -t bids_sexclf .
# The templates are fetched while building, so that no run needs a network;
# leave them out with  --build-arg TEMPLATES=  and give --templates-dir instead.
# FSL (non-commercial licence; several GB) comes in with  --build-arg FSL=6.0.7.16 , or another
# release that its own installer knows; without it everything runs on ANTs.
FROM python:3.11-slim-bookworm

ARG FSL=
RUN if [ -n "$FSL" ]; then \
        apt-get update && apt-get install -y --no-install-recommends bc bzip2 dc file libgomp1 \
        && rm -rf /var/lib/apt/lists/* \
        && python -c "from urllib.request import urlretrieve as get; get('https://fsl.fmrib.ox.ac.uk/fsldownloads/fslconda/releases/fslinstaller.py', '/tmp/fslinstaller.py')" \
        && python /tmp/fslinstaller.py --dest /opt/fsl --fslversion "$FSL" --skip_registration \
        && rm -rf /tmp/fslinstaller.py /opt/fsl/pkgs && chmod -R a+rX /opt/fsl; \
    fi
# Both stay as they were where FSL is left out.
ENV FSLDIR=${FSL:+/opt/fsl} PATH=${FSL:+/opt/fsl/share/fsl/bin:}$PATH

ENV PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1
COPY bids_sexclf/data/constraints.txt /src/constraints.txt
COPY setup.cfg pyproject.toml README.md LICENSE /src/
# Dependencies first: they change less often than the code.
RUN mkdir -p /src/bids_sexclf && echo '__version__ = "0"' > /src/bids_sexclf/__init__.py \
    && pip install -c /src/constraints.txt /src && pip uninstall -y bids-sexclf
COPY bids_sexclf /src/bids_sexclf
RUN pip install --no-deps /src

ENV TEMPLATEFLOW_HOME=/opt/templateflow
ARG TEMPLATES=MNI152NLin6Asym
RUN mkdir -p /opt/templateflow \
    && if [ -n "$TEMPLATES" ]; then python -m bids_sexclf.resources $TEMPLATES; fi \
    && chmod -R a+rX /opt/templateflow

# Any uid may run it on a read-only root: everything is written under the output or work folder.
ENV HOME=/tmp NIPYPE_NO_ET=1 TEMPLATEFLOW_AUTOUPDATE=0 BIDS_SEXCLF_CONTAINER=docker \
    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 \
    ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS=1
ENTRYPOINT ["bids-sexclf"]
