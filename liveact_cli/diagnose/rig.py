"""A whole model of the large family with random weights, set up as a render sets it up.

Everything that a render runs runs here: the sound's encoder, the transformer with its memory, the
frame decoder. Only what they say is noise.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal, Self

import numpy as np
import torch
from torch import Tensor

from liveact_cli.core.budget import CodecSizes, Offload, drawing_sizes
from liveact_cli.core.errors import UsageError
from liveact_cli.core.geometry import ChunkPlan, MemoryPolicy
from liveact_cli.core.placement import Machine, Wishes, choose
from liveact_cli.core.protocols import AudioRows
from liveact_cli.core.units import Size
from liveact_cli.engine.conditioning import Conditioner, FixedPrompt, Reference
from liveact_cli.engine.decode import DecodedChunk, DecodeMemory, DecodeSettings, decode_chunks
from liveact_cli.engine.noise import PhiloxNoise
from liveact_cli.model.config import LIVEACT_18B, TransformerConfig
from liveact_cli.model.transformer import LiveActTransformer
from liveact_cli.runtime import attention
from liveact_cli.runtime.build import Options, build_random, without_graphs
from liveact_cli.runtime.crew import Attached, Crew
from liveact_cli.runtime.fp8 import plan_fp8
from liveact_cli.runtime.fp8_numbers import check_device
from liveact_cli.runtime.graphs import Graphs, graphs_of, stop_graphs, use_graphs
from liveact_cli.wan.frames import LatentDecoder, TinyFrameDecoder, WanFrameDecoder
from liveact_cli.wan.keymaps import VaeSizes
from liveact_cli.wan.shared_frames import PictureShare, SharedFrameDecoder
from liveact_cli.wan.tiny_decoder import TINY_WIDTHS, TinyDecoder
from liveact_cli.wan.vae_decoder import WAN_SIZES, WanDecoder
from liveact_cli.wan.vae_stream import VideoDecoder

Precision = Literal["bf16", "fp8", "fp32"]
Decoder = Literal["wan", "lightvae", "taew2_1"]
KVPrecision = Literal["bf16", "fp8"]
PRECISIONS: Final = ("auto", "bf16", "fp8", "fp32")
DECODERS: Final[tuple[Decoder, ...]] = ("wan", "lightvae", "taew2_1")

FPS: Final = 25.0
_PROMPT_TOKENS: Final = 24
_IMAGE_TOKENS: Final = 257
_SAMPLE_RATE: Final = 16_000
_SPEECH_BYTES: Final = 380_000_000
"""wav2vec2, 95 million numbers in float32."""
_LIGHT: Final = 4
"""The light VAE has this fraction of the full one's channels."""


@dataclass(frozen=True)
class Sizes:
    """Sizes of a model: the released ones, or others for a small try."""

    transformer: TransformerConfig = LIVEACT_18B
    vae: VaeSizes = WAN_SIZES
    tiny: tuple[int, ...] = TINY_WIDTHS

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read `{"transformer": {...}, "vae": {...}, "tiny": [...]}`: what is not as released.

        Raises UsageError for what cannot be read or cannot be a model.
        """
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            transformer = replace(LIVEACT_18B, **values.get("transformer", {}))
            tiny = tuple(map(int, values.get("tiny", TINY_WIDTHS)))
            vae = VaeSizes(**{**asdict(WAN_SIZES), **_tuples(values.get("vae", {}))})
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error.strerror}", "--config FILE") from error
        except (ValueError, TypeError, AttributeError) as error:
            raise UsageError(
                f"{path.name} has no sizes of a model: {error}",
                'for example {"transformer": {"layers": 4}}',
            ) from error
        return cls(transformer, vae, tiny)


@dataclass(frozen=True)
class Setup:
    """What is measured: sizes, places, precision, kernels."""

    size: Size
    devices: tuple[torch.device, ...]
    precision: Precision
    sizes: Sizes = field(default_factory=Sizes)
    attention: str = attention.AUTO
    kernels: str = "auto"
    kv_precision: KVPrecision = "bf16"
    offload: Offload = "none"
    latents_per_call: int = 8
    tile: int | None = None
    decoder: Decoder = "wan"
    compiled_decoder: bool = False
    graphs: Graphs = "auto"
    overlap: bool = True
    draws_together: bool = True
    policy: MemoryPolicy = field(default_factory=MemoryPolicy)
    settings: DecodeSettings = field(default_factory=DecodeSettings)

    @property
    def device(self) -> torch.device:
        """Where everything but the other ranks' share is computed."""
        return self.devices[0]

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the arithmetic outside of FP8 layers."""
        return torch.float32 if self.precision == "fp32" else torch.bfloat16

    @property
    def latent_size(self) -> tuple[int, int]:
        """Height and width in latent pixels."""
        stride = self.sizes.vae.spatial_stride
        return self.size.height // stride, self.size.width // stride

    @property
    def tokens_per_frame(self) -> int:
        """Tokens of a latent frame."""
        return self.sizes.transformer.tokens_per_frame(*self.latent_size)

    def check(self) -> None:
        """Raise an error for a size or a device that cannot be."""
        step = self.sizes.vae.spatial_stride * self.sizes.transformer.patch[1]
        if self.size.height % step or self.size.width % step:
            raise UsageError(
                f"sides are multiples of {step} pixels here, not {self.size}", "--size 416x720"
            )
        if self.precision == "fp8":
            check_device(self.device)


def placed(setup: Setup, card: int) -> tuple[Setup, str]:
    """Return the setup as a GPU of `card` bytes can run it, and a sentence that says how.

    Raises DeviceError with the numbers when it cannot.
    """
    if setup.precision == "fp32":
        return setup, "float32: nothing is rounded or offloaded"
    with torch.device("meta"):
        decoder = VideoDecoder(setup.sizes.vae)
    parameters = sum(parameter.numel() for parameter in decoder.parameters())
    drawing = drawing_sizes("wan", fused=find_spec("triton") is not None)
    drawing = replace(drawing, channels=setup.sizes.vae.decoder_base)
    codecs = CodecSizes(setup.size, 2 * parameters, 0, _SPEECH_BYTES, drawing)
    choice = choose(
        setup.sizes.transformer.decode_sizes(setup.policy, setup.latent_size),
        codecs,
        Machine((card,) * len(setup.devices), None),
        Wishes(precision=setup.precision, gpus=len(setup.devices), saving=False),
    )
    layout = choice.layout
    chosen = replace(
        setup,
        kv_precision=layout.kv_precision,  # type: ignore[arg-type]  # never fp32
        offload=layout.offload,
        latents_per_call=layout.latents_per_call,
        tile=layout.tile,
    )
    return chosen, str(choice)


class Rig:
    """The loaded model; `start` begins a video of so many chunks, use it in a with block."""

    def __init__(self, setup: Setup) -> None:
        """Build everything on the device; raises LiveActError for what this machine cannot do."""
        setup.check()
        self.notes: list[str] = []
        if setup.device.type == "cuda" and setup.offload == "none":
            free, _ = torch.cuda.mem_get_info(setup.device)
            setup, how = placed(setup, free)
            self.notes.append(how)
        self.setup = setup
        self._exits = ExitStack()
        config, device = setup.sizes.transformer, setup.device
        options = Options(
            setup.dtype,
            plan_fp8(config) if setup.precision == "fp8" else None,
            fp8_memory=setup.kv_precision == "fp8",
            offload=setup.offload,
            kernels=setup.kernels,
            attention=setup.attention,
            graphs=setup.graphs,
        )
        several = len(setup.devices) > 1
        options = without_graphs(options) if several else options
        build = partial(build_random, config, options)
        self.transformer: LiveActTransformer
        self._crew: Crew | None = None
        if several:
            devices = list(setup.devices)
            crew = Crew(build, devices, heads=config.heads, overlap=setup.overlap)
            self._crew = self._exits.enter_context(crew)
            self.transformer = crew.transformer
        else:
            self.transformer = build(device=device)
        self._network = self._speech_network(config, device)
        self._draw()
        self.memory: DecodeMemory | None = None
        self.draw_at(setup.size)

    def draw_at(self, size: Size) -> None:
        """Draw at another size: the memory is made anew."""
        self.setup = setup = replace(self.setup, size=size)
        setup.check()
        self.memory = None  # before the next one: the two do not fit together
        config, generator = setup.sizes.transformer, torch.Generator().manual_seed(1)

        def noise(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator)

        self._text = noise(min(_PROMPT_TOKENS, config.text_len), config.text_dim)
        image = noise(_IMAGE_TOKENS, config.image_dim) if config.image_dim else None
        y = noise(config.y_dim, setup.policy.window, *setup.latent_size) if config.y_dim else None
        self._reference = Reference(image, y)
        self.memory = DecodeMemory(
            self.transformer, setup.policy, setup.latent_size, setup.settings
        )

    def draw_with(self, decoder: Decoder, *, compiled: bool = False) -> None:
        """Draw with another decoder."""
        self.setup = replace(self.setup, decoder=decoder, compiled_decoder=compiled)
        self._draw()

    def _draw(self) -> None:
        """Make the decoder: on every device its share, or one on the first."""
        setup = self.setup
        self._decoder: WanDecoder | TinyDecoder | None = None
        self._shared: Attached | None = None
        together = self._crew is not None and setup.draws_together
        if self._crew is not None and together and setup.decoder != "taew2_1":
            make = partial(
                PictureShare.random, vae_sizes(setup), setup.dtype, setup.latents_per_call
            )
            self._shared = self._crew.attach(make)
        else:
            self._decoder = random_decoder(setup)

    def record_graphs(self, on: bool) -> None:
        """Replay CUDA graphs from here on, or run kernel by kernel (on one GPU)."""
        use_graphs(self.transformer) if on else stop_graphs(self.transformer)
        self.transformer.facts["graphs"] = on

    def attend_with(self, name: str) -> None:
        """Use another attention kernel; raises LiveActError where it cannot run."""
        setup = self.setup
        chosen = attention.resolve(name, setup.device, setup.dtype)
        attention.attend_with(self.transformer, chosen)
        self.transformer.facts["attention"] = chosen.record()
        if (graphs := graphs_of(self.transformer)) is not None:
            graphs.forget()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        """End the processes on other devices."""
        self._exits.__exit__(kind, error, trace)

    @property
    def parameters(self) -> int:
        """Parameters of the transformer."""
        return sum(self.setup.sizes.transformer.parameters())

    def frame_decoder(self) -> LatentDecoder:
        """Return a decoder for one video."""
        if (shared := self._shared) is not None:
            return SharedFrameDecoder(lambda: shared)
        assert self._decoder is not None
        return one_video(self._decoder, self.setup)

    def rows(self, frames: int) -> AudioRows:
        """Return the sound of a video: noise through the encoder, if it is there."""
        config = self.setup.sizes.transformer
        if self._network is None:
            return _NoiseRows(config.audio_layers, config.audio_channels)
        from liveact_cli.wan.audio_rows import SpeechEncoder

        samples = np.random.default_rng(0).standard_normal(
            round(frames / FPS * _SAMPLE_RATE), dtype=np.float32
        )
        return SpeechEncoder(self._network).stream(iter([samples]), frames, FPS)

    def start(self, chunks: int) -> Iterator[DecodedChunk]:
        """Forget the past and generate a video of so many chunks, chunk by chunk."""
        setup, held = self.setup, self.memory
        assert held is not None
        for memory in (held.main, held.silent):
            if memory is not None:
                memory.clear()
        plan = ChunkPlan.of_chunks(setup.policy, chunks)
        self.conditioner = Conditioner(
            self.transformer,
            setup.policy,
            self.rows(plan.frames),
            FixedPrompt(self._text),
            self._reference,
            guided=setup.settings.guided,
        )
        return decode_chunks(
            self.transformer, plan, self.conditioner, PhiloxNoise(1), held, setup.settings
        )

    def _speech_network(self, config: TransformerConfig, device: torch.device) -> Any:
        if find_spec("transformers") is None:
            self.notes.append("the sound's encoder is not measured: transformers is not installed")
            return None
        from liveact_cli.wan.wav2vec2 import Wav2Vec2

        return Wav2Vec2.random(config.audio_layers, config.audio_channels, device)


def one_video(decoder: WanDecoder | TinyDecoder, setup: Setup) -> LatentDecoder:
    """Return a decoder's stream for one video."""
    if isinstance(decoder, TinyDecoder):
        return TinyFrameDecoder(decoder, latents_per_call=setup.latents_per_call)
    tile = None if setup.tile is None else setup.tile // setup.sizes.vae.spatial_stride
    return WanFrameDecoder(decoder, tile=tile, latents_per_call=setup.latents_per_call)


@dataclass(frozen=True)
class _NoiseRows:
    """Audio rows without an encoder (an `AudioRows`)."""

    layers: int
    channels: int

    def window(self, start: int, stop: int) -> Tensor:
        generator = torch.Generator().manual_seed(stop)
        return torch.randn(stop - start, self.layers, self.channels, generator=generator)


def vae_sizes(setup: Setup) -> VaeSizes:
    """Return the sizes of the VAE that draws."""
    sizes = setup.sizes.vae
    if setup.decoder != "lightvae":
        return sizes
    base = max(1, sizes.base // _LIGHT)
    return replace(sizes, base=base, decoder_base=base)


def random_decoder(setup: Setup) -> WanDecoder | TinyDecoder:
    """Make the decoder of a setup."""
    device, dtype = setup.device, setup.dtype
    if setup.decoder == "taew2_1":
        return TinyDecoder.random(device, dtype, setup.sizes.tiny)
    return WanDecoder.random(vae_sizes(setup), device, dtype, compiled=setup.compiled_decoder)


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
