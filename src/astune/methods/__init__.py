"""Every method, in a file of its own. The order of these lines is that of Table I and of ``astune methods``, with ours last."""

from astune.methods import full as full  # isort: skip
from astune.methods import linear as linear  # isort: skip
from astune.methods import bitfit as bitfit  # isort: skip
from astune.methods import prompts as prompts  # isort: skip
from astune.methods import prefix as prefix  # isort: skip
from astune.methods import adapters as adapters  # isort: skip
from astune.methods import lora as lora  # isort: skip
from astune.methods import conformer as conformer  # isort: skip
from astune.methods import dora as dora  # isort: skip
from astune.methods import ia3 as ia3  # isort: skip
from astune.methods import vera as vera  # isort: skip
from astune.methods import ssf as ssf  # isort: skip
from astune.methods import ln_tuning as ln_tuning  # isort: skip
from astune.methods import moa as moa  # isort: skip
from astune.methods import look_aside as look_aside  # isort: skip
from astune.methods import layermix as layermix  # isort: skip
from astune.methods.base import Attachment, Method
from astune.methods.registry import FAMILIES, PRESETS, parse_method, register

__all__ = ["FAMILIES", "PRESETS", "Attachment", "Method", "parse_method", "register"]
