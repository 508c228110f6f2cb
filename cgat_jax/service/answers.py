"""The JSON of answers."""

from pydantic import BaseModel, Field

Id = str | int


class Answer(BaseModel):
    """An image that was found."""

    number: int = Field(description="in the index; its picture is at /images/NUMBER")
    id: Id
    labels: list[str]
    distance: int = Field(description="bits that differ")
    correct: bool | None = Field(
        None, description="shares a class with the query, where its classes are known"
    )


class Alarm(BaseModel):
    """Whether a query's code is unusual."""

    raised: bool
    p_value: float
    false_alarms: float = Field(description="the rate that it is calibrated to")


class Found(BaseModel):
    """What a query found in an index."""

    index: str
    network_sha256: str
    code: list[int] = Field(description="of the query: -1 and 1")
    answers: list[Answer]
    alarm: Alarm | None = None


class Added(BaseModel):
    """An image that was added; it is on disk."""

    index: str
    number: int


class IndexState(BaseModel):
    """An index that is served."""

    name: str
    title: str
    images: int
    bits: int
    network_sha256: str
    engine: str


class Health(BaseModel):
    """That the service answers, and with what."""

    status: str
    indexes: list[IndexState]


class Problem(BaseModel):
    """Why there is no answer."""

    error: str
