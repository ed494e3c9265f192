"""Compare fits and unringing with dipy's and MRtrix3's: seconds, differences, memory.

    python benchmarks/diffusion.py [--voxels 20000] [--slices 24] [--repeats 3] [--memory]

All in one run, on the same synthetic signals: two crossing bundles with their own diffusivities
inside and around axons, and some free water, so that tensor and kurtosis vary as in a brain;
Rician noise, SNR 30 at b=0; 18 volumes at b=0 and 90 each at 1000, 2000 and 3000 s/mm². Every
program may use two threads and fits the same voxels and volumes:

dipy      DiffusionKurtosisModel(fit_method="WLS") with FA, MD and MK; TensorModel(fit_method="WLS")
          with FA and MD. dipy walks from voxel to voxel in one thread; a second one inside its
          small matrix products would only spin, so it has one there.
MRtrix3   dwi2tensor -dkt, and dwi2tensor without it, from and to uncompressed files. It gives the
          tensors and no map (version 3.0.3 has no mean kurtosis): what it spends on FA, MD and MK
          is nothing. As it comes it weights by the signal and then twice by its own prediction;
          with "-ols -iter 1" it does what the other two do: one unweighted fit, one weighted by
          its prediction. Left out where dwi2tensor is not on the PATH.
ours      fit_kurtosis with all nine maps, fit_tensor with all five, fit_noddi with all four, from
          memory. dipy and MRtrix3 have no NODDI; dmri-amico is not among what is installed.

Gibbs ringing is suppressed in 145 x 174 slices of noisy bright rectangles, seen from a third of
k-space, by `denoise.unring` and by dipy's gibbs_removal, one thread each.

The least of the repeats counts for each (dipy's fits run once). Differences are medians over voxels
between our maps and dipy's, FA and MD relative to a range of 1 and of 3e-3 mm²/s. With --memory,
fits of a series of 145 x 174 x 145 x 288 int16 voxels (2.1 GB, written for it and removed; the mask
is an ellipsoid that holds 40 % of the voxels, more than a brain) run in processes of their own,
which report their largest resident memory.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

THREADS = 2
HCP = (145, 174, 145)
MASKED = 0.4


def directions(n, seed):
    """Give n unit vectors, shape (n, 3)."""
    vectors = np.random.default_rng(seed).normal(size=(n, 3))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def scheme():
    """Give b-values (288,) in s/mm² and b-vectors (288, 3) in an order as scanners use."""
    bvals = np.repeat([0.0, 1000, 2000, 3000], [18, 90, 90, 90])
    bvecs = np.vstack([np.zeros((18, 3)), directions(270, seed=0)])
    order = np.random.default_rng(1).permutation(bvals.size)
    return bvals[order], bvecs[order]


def simulate(n, bvals, bvecs, snr=30, seed=2):
    """Give noisy signals of n voxels of white matter with some water, shape (n, 288)."""
    rng = np.random.default_rng(seed)
    axis, other = directions(n, seed + 1), directions(n, seed + 2)

    def bundle(axes, along, across):
        between = (along - across)[:, None] * (axes @ bvecs.T) ** 2
        return np.exp(-bvals * (across[:, None] + between))

    def axons(axes):
        return bundle(axes, rng.uniform(1.6e-3, 2.2e-3, n), rng.uniform(0, 0.2e-3, n))

    crossing = (rng.uniform(0, 0.5, n) * (rng.random(n) < 0.4))[:, None]
    within = (1 - crossing) * axons(axis) + crossing * axons(other)
    around = bundle(axis, rng.uniform(1.0e-3, 1.8e-3, n), rng.uniform(0.5e-3, 1.0e-3, n))
    density, water = rng.uniform(0.2, 0.7, (n, 1)), rng.beta(1, 8, (n, 1))
    signal = (1 - water) * (density * within + (1 - density) * around)
    signal = 1000 * (signal + water * np.exp(-bvals * 3e-3))
    noise = rng.normal(scale=1000 / snr, size=(2, *signal.shape))
    return np.hypot(signal + noise[0], noise[1]).astype(np.float32)


def least(repeats, action):
    """Run an action several times; give its result and the least wall and processor seconds."""
    wall, used = [], []
    # What is over at once is run more often: a single run says little on a busy machine.
    while len(wall) < repeats or (sum(wall) < 1 and repeats > 1):
        start, before = time.perf_counter(), processor_seconds()
        result = action()
        wall.append(time.perf_counter() - start)
        used.append(processor_seconds() - before)
    return result, min(wall), min(used)


def processor_seconds():
    """Give what this process and those it started have used."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def ours(dwi, bvals, bvecs, repeats):
    """Time our fits; give seconds by name, and the maps."""
    from bids_sexclf.diffusion import fit_kurtosis, fit_noddi, fit_tensor

    every = {
        "kurtosis": lambda: fit_kurtosis(dwi, bvals, bvecs, n_threads=THREADS),
        "tensor": lambda: fit_tensor(dwi, bvals, bvecs, b_max=np.inf, n_threads=THREADS),
        "NODDI": lambda: fit_noddi(dwi, bvals, bvecs, n_threads=THREADS),
    }
    done = {name: least(repeats, fit) for name, fit in every.items()}
    return {name: part[1:] for name, part in done.items()}, {n: p[0] for n, p in done.items()}


def dipys(dwi, bvals, bvecs, repeats):
    """Time dipy's weighted least squares on the same array; give seconds by name, and the maps."""
    from dipy.core.gradients import gradient_table
    from dipy.reconst.dki import DiffusionKurtosisModel
    from dipy.reconst.dti import TensorModel
    from threadpoolctl import threadpool_limits

    table = gradient_table(bvals, bvecs=bvecs, b0_threshold=50)

    def kurtosis():
        fit = DiffusionKurtosisModel(table, fit_method="WLS").fit(dwi)
        return {"FA": fit.fa, "MD": fit.md, "MK": fit.mk(min_kurtosis=-3 / 7, max_kurtosis=10)}

    def tensor():
        fit = TensorModel(table, fit_method="WLS").fit(dwi)
        return {"FA": fit.fa, "MD": fit.md}

    with threadpool_limits(1, "blas"):
        done = {"kurtosis": least(repeats, kurtosis), "tensor": least(repeats, tensor)}
    return {name: part[1:] for name, part in done.items()}, {n: p[0] for n, p in done.items()}


def mrtrixs(dwi, bvals, bvecs, repeats):
    """Time MRtrix3's dwi2tensor on the same voxels, volumes side by side; give seconds by name."""
    import nibabel as nib

    if shutil.which("dwi2tensor") is None:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        series = Path(folder, "dwi.nii")
        nib.save(nib.Nifti1Image(dwi, np.diag([-2.0, 2, 2, 1])), series)
        np.savetxt(Path(folder, "bvals"), bvals[None])
        np.savetxt(Path(folder, "bvecs"), bvecs.T)
        threads = ["-quiet", "-force", "-nthreads", str(THREADS)]

        def call(*command):
            subprocess.run([*command, *threads], cwd=folder, check=True)

        call("mrconvert", "dwi.nii", "-fslgrad", "bvecs", "bvals", "-stride", "2,3,4,1", "dwi.mif")
        once, kurtosis = ("-ols", "-iter", "1"), ("-dkt", "dkt.mif")
        commands = {
            "kurtosis": kurtosis,
            "kurtosis, one step": (*kurtosis, *once),
            "tensor": (),
            "tensor, one step": once,
        }
        return {
            name: least(
                repeats, lambda given=given: call("dwi2tensor", "dwi.mif", "dt.mif", *given)
            )[1:]
            for name, given in commands.items()
        }


def compare(n, repeats):
    """Print the table of seconds and ratios, and the differences from dipy's maps."""
    bvals, bvecs = scheme()
    dwi = simulate(n, bvals, bvecs).reshape(n // 400, 20, 20, -1)
    own, maps = ours(dwi, bvals, bvecs, repeats)
    print(f"{n} voxels x {bvals.size} volumes, {THREADS} threads; ratios are to ours")
    print(f"{'':10}{'fit':22}{'wall s':>9}{'ratio':>8}{'cpu s':>9}{'ratio':>8}")
    show("ours", own, own)
    show("MRtrix3", mrtrixs(dwi, bvals, bvecs, repeats), own)
    theirs, expected = dipys(dwi, bvals, bvecs, 1)
    show("dipy", theirs, own)
    for model, found in expected.items():
        for name, values in found.items():
            top = 3e-3 if name == "MD" else 1.0
            away = np.median(np.abs(maps[model][name] - values)) / top
            print(f"median difference from dipy, {model} {name}: {away:.1e}")


def show(program, seconds, own):
    """Print one program's rows of the table."""
    for name, (wall, used) in seconds.items():
        our_wall, our_used = own[name.split(",")[0]]
        print(
            f"{program:10}{name:22}{wall:9.3f}{wall / our_wall:8.1f}{used:9.3f}"
            f"{used / our_used:8.1f}",
            flush=True,
        )


def ringing_slices(n):
    """Give n noisy slices of 145 x 174 with bright rectangles that ring, float32."""
    rng = np.random.default_rng(0)
    shape, slices = HCP[:2], []
    for _ in range(n):
        fine = np.full([3 * size for size in shape], 300.0)
        x, y = (np.sort(rng.choice(np.arange(size, 2 * size), 2)) for size in shape)
        fine[x[0] : x[1] + 30, y[0] : y[1] + 30] += 500
        spectrum = np.fft.fftshift(np.fft.fft2(fine))
        kept = spectrum[tuple(slice(size, 2 * size) for size in shape)]
        seen = np.abs(np.fft.ifft2(np.fft.ifftshift(kept))) / 9
        slices.append(np.hypot(seen + rng.normal(0, 10, shape), rng.normal(0, 10, shape)))
    return np.array(slices, np.float32)


def compare_unringing(n, repeats):
    """Print seconds of both programs on n slices, and how far apart they end."""
    from dipy.denoise.gibbs import gibbs_removal
    from threadpoolctl import threadpool_limits

    from bids_sexclf.denoise import unring

    slices = ringing_slices(n)
    print(f"{n} slices of 145 x 174, 1 thread; ratios are to ours")
    with threadpool_limits(1):
        own = least(repeats, lambda: unring(slices))
        other = least(repeats, lambda: gibbs_removal(slices, slice_axis=0, inplace=False))
    show("ours", {"unringing": own[1:]}, {"unringing": own[1:]})
    show("dipy", {"unringing": other[1:]}, {"unringing": own[1:]})
    apart, removed = own[0] - other[0], other[0] - slices
    share = np.sqrt((apart**2).mean() / (removed**2).mean())
    print(f"root mean square difference, of what dipy removed: {share:.3f}")


def describe():
    """Print the machine, the load on it and the programs."""
    names = [
        line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{len(names)} x {names[0].split(':')[1].strip()}, {memory:.0f} GiB; load {load}")
    programs = [f"{name} {version(name)}" for name in ("numpy", "scipy", "dipy")]
    if shutil.which("dwi2tensor"):
        told = subprocess.run(["dwi2tensor", "-version"], capture_output=True, text=True).stdout
        programs.append(f"MRtrix {told.split()[2]}")
    print(", ".join(programs), flush=True)


def write_series(folder):
    """Write a scan of HCP's size plane by plane, its mask and its gradients."""
    import nibabel as nib

    bvals, bvecs = scheme()
    few = simulate(2000, bvals, bvecs).round().astype(np.int16)
    rng = np.random.default_rng(0)
    header = nib.Nifti1Header()
    header.set_data_shape((*HCP, bvals.size))
    header.set_data_dtype(np.int16)
    header.set_sform(np.diag([1.25, 1.25, 1.25, 1]), 1)
    header.set_data_offset(352)
    # Which of the few simulated voxels lies where: a plane drawn anew for every slice.
    places = rng.integers(0, len(few), (HCP[2], HCP[1], HCP[0]))
    with open(folder / "dwi.nii", "wb") as file:
        header.write_to(file)
        file.seek(352)
        for volume in range(bvals.size):
            file.write(few[:, volume][places].tobytes())
    radii = np.cbrt(MASKED * np.prod(HCP) / (4 / 3 * np.pi * np.prod(HCP))) * np.array(HCP)
    grid = np.indices(HCP) - (np.array(HCP)[:, None, None, None] - 1) / 2
    mask = (((grid.T / radii).T) ** 2).sum(axis=0) < 1
    nib.save(nib.Nifti1Image(mask.astype(np.uint8), header.get_sform()), folder / "mask.nii.gz")
    np.savetxt(folder / "bvals", bvals[None])
    np.savetxt(folder / "bvecs", bvecs.T)
    return int(mask.sum())


CHILD = """
import json, os, resource, sys, time
from bids_sexclf.interfaces.fits import FitMaps
os.chdir(sys.argv[1])
node = FitMaps(in_file=sys.argv[2], bval="bvals", bvec="bvecs", mask="mask.nii.gz",
               models=json.loads(sys.argv[3]), clip=(-3 / 7, 10.0), num_threads=int(sys.argv[4]))
start = time.perf_counter()
node.run(cwd=os.getcwd())
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps([used.ru_maxrss / 2**20, time.perf_counter() - start,
                  used.ru_utime + used.ru_stime]))
"""


def measure_memory():
    """Print the largest resident memory of the node on a scan of HCP's size."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        inside = write_series(folder)
        print(f"{' x '.join(map(str, HCP))} x 288 int16, {inside} voxels in the mask", flush=True)
        for models in (["tensor"], ["tensor", "kurtosis"], ["tensor", "noddi"]):
            command = [sys.executable, "-c", CHILD, name, "dwi.nii", json.dumps(models)]
            told = subprocess.run(
                [*command, str(THREADS)], capture_output=True, text=True, check=True
            )
            peak, wall, used = json.loads(told.stdout.splitlines()[-1])
            print(
                f"node, {' + '.join(models):20} peak {peak:5.2f} GiB, {wall:6.1f} s, "
                f"{used:6.1f} s of processor",
                flush=True,
            )


def main():
    """Read the command line and run what it asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--voxels", type=int, default=20_000, help="a multiple of 400")
    parser.add_argument("--slices", type=int, default=24, help="slices to unring")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--memory", action="store_true", help="measure memory, and nothing else")
    given = parser.parse_args()
    describe()
    if given.memory:
        measure_memory()
    else:
        compare(given.voxels, given.repeats)
        compare_unringing(given.slices, given.repeats)
    print(f"load at the end {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    # Two threads in every linear-algebra library; it must be said before they are loaded.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = str(THREADS)
    if "BENCHMARK_CHILD" not in os.environ:
        os.environ["BENCHMARK_CHILD"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.argv])
    main()
