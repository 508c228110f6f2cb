"""The PyTorch side of ``benchmarks.step``: the same steps and attack, with care.

Input gradients come from ``torch.autograd.grad`` on the images alone, so that no weight
gradient is computed in the attack; center codes are two matrix products; clean and
adversarial images pass the network as one batch; by default, images and weights are
channels-last in memory, which PyTorch's CPU convolutions like best. Needs torch and
NumPy, not JAX.
"""

import contextlib
import functools

import torch
from torch.nn import functional

from benchmarks import peers
from tests.reference import torch_models


def describe() -> dict:
    """Versions, and whether there is a GPU to compute on."""
    return {
        "torch": torch.__version__,
        "cuda": torch.cuda.is_available(),
        "threads": torch.get_num_threads(),
    }


def prepare(
    network: str,
    batch: int,
    precision: str,
    attack_steps: int,
    layout: str,
    device: str,
):
    """Builds the jobs of a case.

    Args:
        network: a key of ``peers.SCALES``.
        batch: images a step.
        precision: ``float32``, ``tf32`` or ``bfloat16`` (autocast).
        attack_steps: iterations of the attack.
        layout: a memory format of torch, ``channels_last`` or ``contiguous_format``.
        device: ``cpu`` or ``cuda``.

    Returns:
        The jobs, and no facts.
    """
    torch.manual_seed(0)
    arrays = peers.synthetic_inputs(network, batch)
    arrays["pixels"] = arrays["pixels"].transpose(0, 3, 1, 2)
    data = {name: torch.from_numpy(x).to(device) for name, x in arrays.items()}
    memory_format = getattr(torch, layout)
    data["pixels"] = data["pixels"].contiguous(memory_format=memory_format)
    net = getattr(torch_models, network)(peers.SCALES[network].bits)
    net = net.to(device, memory_format=memory_format)
    mode = functools.partial(_precision, precision, device)
    jobs = _jobs(net, data, attack_steps)
    return {name: _in_mode(mode, job) for name, job in jobs.items()}, {}


def _jobs(net, data, attack_steps):
    optimizer = torch.optim.SGD(
        net.parameters(),
        lr=peers.LEARNING_RATE,
        momentum=peers.MOMENTUM,
        weight_decay=peers.WEIGHT_DECAY,
    )
    centers = center_codes(data["labels"], data["bank_codes"], data["bank_labels"])
    budget = peers.ATTACK | {"steps": attack_steps}

    def attack():
        net.eval()
        return sign_descent(net, data["pixels"] / 255, centers, **budget)

    return {
        "matmul": lambda: data["square"] @ data["square"],
        "CgAT step": lambda: cgat_step(net, optimizer, data),
        "pretraining step": lambda: pretraining_step(net, optimizer, data),
        f"attack, {attack_steps} iterations": attack,
    }


def center_codes(labels, codes, bank_labels):
    """sign(N * sum of positives - n * sum of all), as ``cgat_jax.centers`` has it."""
    positive = (labels @ bank_labels.T > 0).float()
    count = positive.sum(1, keepdim=True)
    return (len(codes) * (positive @ codes) - count * codes.sum(0)).sign()


def sign_descent(net, images, references, epsilon, step_size, steps):
    """PGD from a random start that lowers mean_k(tanh(z_k) * reference_k)."""
    lower, upper = (images - epsilon).clamp(min=0), (images + epsilon).clamp(max=1)
    x = (images + torch.empty_like(images).uniform_(-epsilon, epsilon)).clamp(0, 1)
    for _ in range(steps):
        x.requires_grad_()
        agreement = (torch.tanh(net(x)) * references).mean(1).sum()
        (gradient,) = torch.autograd.grad(agreement, x)
        x = torch.clamp(x.detach() - step_size * gradient.sign(), lower, upper)
    return x


def dpsh(codes, labels, bank_codes, bank_labels):
    """The pairwise likelihood with the quantization term."""
    theta = codes @ bank_codes.T / 2
    similar = (labels @ bank_labels.T > 0).float()
    likelihood = (functional.softplus(theta) - similar * theta).mean()
    return likelihood + peers.ETA * ((codes - codes.detach().sign()) ** 2).mean()


def cgat_step(net, optimizer, data):
    """One step of center-guided adversarial training, dropout on throughout."""
    net.train()
    images, labels = data["pixels"] / 255, data["labels"]
    bank, bank_labels = data["bank_codes"], data["bank_labels"]
    centers = center_codes(labels, bank, bank_labels)
    adversarial = sign_descent(net, images, centers, **peers.CRAFTING)
    robust, clean = torch.tanh(net(torch.cat([adversarial, images]))).chunk(2)
    bank[data["indices"]] = clean.detach().float()
    targets = center_codes(labels, bank, bank_labels)
    loss = dpsh(clean, labels, bank, bank_labels) - (robust * targets).mean()
    _descend(optimizer, loss)
    return loss


def pretraining_step(net, optimizer, data):
    """One step on the hashing loss of the clean images."""
    net.train()
    codes = torch.tanh(net(data["pixels"] / 255))
    data["bank_codes"][data["indices"]] = codes.detach().float()
    loss = dpsh(codes, data["labels"], data["bank_codes"], data["bank_labels"])
    _descend(optimizer, loss)
    return loss


def _descend(optimizer, loss):
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def _in_mode(mode, job):
    def run():
        with mode():
            return job()

    return run


def _precision(name, device):
    """The context of a precision; TF32 is set for the process."""
    torch.backends.cuda.matmul.allow_tf32 = name == "tf32"
    torch.backends.cudnn.allow_tf32 = name == "tf32"
    if name == "bfloat16":
        return torch.autocast(device, dtype=torch.bfloat16)
    return contextlib.nullcontext()


def _wait(result):
    if torch.cuda.is_available():
        torch.cuda.synchronize()


if __name__ == "__main__":
    peers.serve(describe, prepare, _wait)
