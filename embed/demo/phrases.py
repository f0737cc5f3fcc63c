"""What can be said about a drawn scene: each fact in many phrasings, and what must be true for it.

In a pattern, `{a|b}` is one of a and b, and groups may stand inside groups.
"""

from dataclasses import dataclass
from typing import Final

from embed.demo.drawing.things import ANIMALS, FOOD, OBJECTS

_OF: Final = "{a photo of|a picture of|an image of|a view of|a drawing of|there is|this is|}"
_SHOT: Final = "{a photo of|a picture of|a portrait of|a close-up of|an image of|there is|}"
_WHO: Final = "{a person|a man|a woman|somebody|someone|a man or a woman|a human|people}"
_FACE: Final = f"{{a face|a face|a portrait|a close-up of a face|a close-up of a person|{_WHO}|the face of {_WHO}|{_SHOT} {_WHO}}}"


@dataclass(frozen=True)
class Phrase:
    """One fact in words."""

    topic: str  # phrases of one topic contradict each other, and those of two topics may be joined
    needs: frozenset[str]  # the facts that make it true
    pattern: str


def _about(topic: str, needs: str, *patterns: str) -> tuple[Phrase, ...]:
    facts = frozenset(fact.strip() for fact in needs.split("&"))
    return tuple(Phrase(topic, facts, pattern) for pattern in patterns)


_PEOPLE = (
    *_about(
        "people", "people",
        f"{_OF} {{a person|a human|people|a human being|somebody|someone}}",
        f"{_OF} {{a person|people}}",
        "{with|there is|there are|showing} {a person|people|somebody|someone|a human|human beings} {in it|in the picture|to be seen|}",
        "{a person|somebody|someone|people} can be seen",
        "{at least one person|a person|people} {in the scene|in the picture|somewhere in the picture}",
        "a scene with {people|a person|somebody} in it",
        "a {portrait|photo|picture} of a person",
        "{a human figure|the figure of a person}",
    ),
    *_about("people", "people & kind:portrait", f"{_SHOT} a {{person|human}}", "a portrait of {a person|somebody|someone}"),
    *_about("people", "people & kind:far", "{somebody|a person|someone|a small person|a human} {far away|far off|in the distance|in the background}", "a tiny figure {in the distance|far away|far off}"),
    *_about("people", "people & kind:edge", "{part of a person|somebody|a person|half a person} at the edge {of the picture|of the photo|}", "a person {cut off by the edge|partly outside the picture}"),
    *_about("people", "several", "{a photo of|a picture of|} {several|many|some|a few} {people|persons|human beings}", "a {group|crowd|family} {of people|}", "{people together|people side by side|more than one person}"),
    *_about("people", "one person", "{a photo of|a picture of|} {one|a single|exactly one} person", "{one|a single} {person|human} {alone|}"),
    *_about("people", "nobody", "{nobody|no one|no person|no people|no human} {is there|can be seen|in the picture|to be seen|in it|anywhere|}", "{without|without any} {people|person|humans}", "{a picture|a photo|a scene|an image} {without people|without any person|with nobody in it|with no people in it|that shows nobody}", "{an empty scene|deserted|empty of people}"),
    *_about("people", "nobody & kind:street", "{a photo of|a picture of|} {an empty|a deserted|an abandoned} {street|road} {without people|with nobody in it|}", "a {street|road} {without people|with nobody|and no one}", f"{_OF} a {{street|road|city street}}"),
    *_about("people", "nobody & kind:room", "{a photo of|a picture of|} {an empty|a deserted|an unoccupied} {room|living room} {without people|with nobody in it|}", "a room {without people|with nobody|and no one}", f"{_OF} {{a room|an interior|furniture}}"),
    *_about("people", "nobody & kind:building", "{a photo of|a picture of|} {an empty|a deserted} building", "a {building|house} {without people|with nobody near}", f"{_OF} a {{building|house}}", "{architecture|a facade|a house with windows}"),
    *_about("people", "nobody & kind:landscape", f"{_OF} {{a landscape|nature|scenery}}", "{an empty|a wide} landscape {without people|}", "scenery {without people|with nobody}"),
    *_about("people", "nobody & kind:food", f"{_OF} {{food|a meal|something to eat}}"),
    *_about("people", "nobody & kind:object", f"{_OF} {{an object|a thing|a product|something that is no person}}"),
    *_about("people", "nobody & kind:animal", f"{_OF} {{an animal|a pet or a wild animal|an animal and no person}}"),
    *_about("people", "no face & people", "{no face can be seen|a person from head to foot|the whole body}"),
    *_about("people", "no face", "{no face|without a face|no face in the picture}"),
    *_about("people", "nobody & no face", "{no face and no person|a picture without a face or a person}"),
)  # fmt: skip
_WHO_IS_IT = (
    *_about("who", "man", f"{_SHOT} a man", "a {photo|picture} of a man", "a man {is there|can be seen|in the picture|}"),
    *_about("who", "woman", f"{_SHOT} a woman", "a {photo|picture} of a woman", "a woman {is there|can be seen|in the picture|}"),
    *_about("who", "child", f"{_SHOT} a {{child|boy or a girl|kid}}", "a {photo|picture} of a child", "a child {is there|can be seen|in the picture|}"),
)  # fmt: skip
_PLACES = tuple(
    phrase
    for place, words in {
        "street": "{a street|a road|a city street}",
        "building": "{a building|a house}",
        "room": "{a room|an interior}",
        "fields": "{fields|a meadow|a field}",
        "mountains": "{mountains|hills}",
        "beach": "{a beach|the sea|a shore}",
        "plain": "{a plain wall|a plain background}",
    }.items()
    for phrase in (
        *_about("place", f"place:{place} & people", f"{{a person|somebody|people|someone}} {{in front of|before|and}} {words}"),
        *_about("place", f"place:{place} & nobody", f"{_OF} {words}", f"{words} {{without people|with nobody|}}"),
        *_about("place", f"place:{place}", f"{{in front of|before|with|and}} {words} {{behind|in the background}}"),
    )
)
_THINGS = tuple(
    phrase
    for names, kind in ((FOOD, "food"), (OBJECTS, "object"), (ANIMALS, "animal"))
    for name in names
    for phrase in _about("subject", f"subject:{name} & kind:{kind}", f"{_OF} {{a|the|some}} {name}", f"{kind}: {name}")
)
_ON = "{covering|over|on|hiding}"
_MASKS = (
    *_about(
        "mask", "mask:worn",
        f"{_FACE} with a {{medical|surgical|protective|cloth|face|}} mask {_ON} {{the mouth and the nose|the nose and the mouth|mouth and nose|the lower face}}",
        f"{_FACE} {{wearing|with|in}} a {{medical|surgical|protective|cloth|}} {{mask|face mask}}",
        f"{_FACE} with {{the lower face|the mouth|the mouth and the nose|mouth and nose}} {{hidden|covered}} by a {{medical|surgical|protective|cloth|}} mask",
        f"{_FACE} wearing a {{cloth|medical|}} mask over the {{nose and the mouth|mouth and the nose}}",
        f"{_FACE} with {{an N95 respirator|a respirator|a mask}} on the face",
        f"{{a masked face|a masked person|{_WHO} with a face mask on}}",
    ),
    *_about("mask", "mask:chin", f"{_FACE} with a {{medical|}} mask {{hanging|pulled down|worn|}} {{under|below}} the chin {{, mouth visible|and a visible mouth|, the mouth can be seen|}}", f"{_FACE} with {{a mask|the mask}} on the chin and {{the mouth visible|a bare mouth}}"),
    *_about("mask", "mask:scarf", f"{_FACE} {{with|wearing}} a scarf {{around the neck|}} {{, mouth visible|and a visible mouth|}}", "a scarf around the neck"),
    *_about("mask", "mask:beard", f"{{a man|a face|a person|a portrait of a man}} with a {{full|long|thick|}} beard {{and a visible mouth|, mouth visible|and no mask|}}", "a {bearded face|bearded man}"),
    *_about("mask", "mask:hand", f"{_FACE} {{holding a hand|with a hand|holding the hand}} {{before|over|in front of}} the mouth", "a hand {before|over|in front of} the mouth"),
    *_about("mask", "mask:none", f"{{a bare|an uncovered}} face with {{the mouth and the nose|mouth and nose|the mouth}} {{clearly|}} visible", f"{{a smiling person|{_FACE}}} without {{any|a}} {{face covering|mask|face mask}}", "{a smiling person|a bare face|nothing on the face}"),
    *_about("mask", "no mask & mouth visible", f"{_FACE} {{without a mask|with no mask|with the mouth visible|with a visible mouth}}"),
    *_about("mask", "mouth visible", "{the mouth is visible|the mouth can be seen|mouth visible}"),
)  # fmt: skip
_GLASSES = (
    *_about(
        "glasses", "glasses:sunglasses",
        f"{_FACE} {{with|wearing}} {{dark|black|opaque|}} sunglasses {{covering|over|on|hiding}} the eyes",
        f"{_FACE} {{with|wearing}} {{dark sunglasses|black sunglasses|opaque sunglasses|sunglasses}}",
        f"{_FACE} with {{the|both}} eyes {{hidden|covered}} {{behind|by}} {{opaque|dark|black|}} {{sunglasses|glasses|lenses}}",
        f"{_FACE} whose eyes {{cannot be seen|are hidden|are invisible}} {{behind|because of}} {{dark|black}} {{lenses|glasses|sunglasses}}",
        f"{{a man|a woman|a man or a woman|a person|somebody}} looking {{at the camera|}} through {{dark|black}} {{sunglasses|glasses|lenses}}",
        "{hidden eyes|the eyes cannot be seen|dark glasses on the eyes}",
    ),
    *_about("glasses", "glasses:forehead", f"{_FACE} with {{dark|}} sunglasses {{pushed up|resting|}} {{on the forehead|on top of the head|above the eyes|up on the head|on the hair}} {{, eyes visible|, eyes visible below|and visible eyes|}}", "sunglasses {on the forehead|on top of the head} {, eyes visible|and not on the eyes|}"),
    *_about("glasses", "glasses:clear", f"{_FACE} {{wearing|with}} {{clear|prescription|clear prescription|transparent}} {{eyeglasses|glasses|spectacles}} {{with visible eyes|, eyes visible|and visible eyes|}}", "{clear glasses|eyeglasses} with visible eyes"),
    *_about("glasses", "glasses:hand", f"{_FACE} {{holding|with}} {{sunglasses|glasses|dark sunglasses}} in the hand {{, eyes visible|and visible eyes|}}"),
    *_about("glasses", "glasses:none", f"{{a bare face|{_FACE}}} {{without any glasses|without glasses|with no glasses}}"),
    *_about("glasses", "bare eyes", f"{_FACE} with {{both eyes|the eyes|eyes}} {{open and clearly visible|clearly visible|open and visible|uncovered}}"),
    *_about("glasses", "eyes visible", f"{_FACE} with {{visible eyes|the eyes visible}}", "{eyes visible|the eyes can be seen}"),
)  # fmt: skip

PHRASES: tuple[Phrase, ...] = (*_PEOPLE, *_WHO_IS_IT, *_PLACES, *_THINGS, *_MASKS, *_GLASSES)
