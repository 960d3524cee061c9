"""The corrections that georeg fits: target map xy -> corrected map xy, one direction only, with their covariance."""

from georeg.models.base import FloatArray as FloatArray
from georeg.models.base import Model as Model
from georeg.models.base import principal_axes as principal_axes
from georeg.models.homography import Homography as Homography
from georeg.models.ladder import LADDER as LADDER
from georeg.models.ladder import from_dict as from_dict
from georeg.models.local import Local as Local
from georeg.models.polynomial import Affine as Affine
from georeg.models.polynomial import Polynomial2 as Polynomial2
from georeg.models.polynomial import Polynomial3 as Polynomial3
from georeg.models.polynomial import PolynomialDisplacement as PolynomialDisplacement
from georeg.models.polynomial import Similarity as Similarity
from georeg.models.polynomial import Translation as Translation
from georeg.models.polynomial import from_transform as from_transform
from georeg.models.polynomial import identity as identity
