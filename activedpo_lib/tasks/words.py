"""The built-in world's vocabulary: some 300 words, both tasks in one."""

TOPICS = {
    "work": ("boss manager intern", "report badge desk contract"),
    "family": ("mother uncle sister", "album recipe ring house"),
    "dating": ("girlfriend boyfriend date", "letter photo gift dinner"),
    "school": ("teacher classmate tutor", "essay locker exam notebook"),
    "rent": ("roommate landlord plumber", "lease kitchen sofa key"),
    "money": ("banker cousin lender", "loan wallet savings cheque"),
    "pets": ("vet breeder sitter", "puppy leash cage kitten"),
    "travel": ("guide pilot tourist", "ticket passport suitcase map"),
    "games": ("teammate streamer rival", "console trophy server avatar"),
    "health": ("doctor nurse dentist", "pills diagnosis crutch chart"),
    "cars": ("mechanic dealer driver", "engine truck tyre helmet"),
    "food": ("chef waiter baker", "menu cake soup oven"),
}
ACTS = "lost broke sold hid took forgot ruined borrowed copied threw painted stole".split()
TLDR_SLOTS = {
    "when": "yesterday monday tonight christmas".split(),
    "where": "home office hotel beach".split(),
    "cause": "stress jealousy boredom debt".split(),
    "feeling": "furious guilty lonely relieved".split(),
    "question": "leave apologize wait forgive".split(),
}

DOMAINS = {
    "biology": ("cats bees whales owls", "hormones enzymes genes nerves"),
    "physics": ("magnets lasers atoms mirrors", "friction charge gravity photons"),
    "history": ("empires kings castles knights", "taxes plague betrayal famine"),
    "cooking": ("onions eggs breads cheeses", "yeast acid heat salt"),
    "sport": ("runners swimmers boxers cyclists", "training fatigue rhythm lactate"),
    "music": ("violins choirs drums pianos", "resonance tension harmony echo"),
    "law": ("courts juries patents treaties", "precedent evidence statute delay"),
    "weather": ("storms clouds winds fogs", "pressure moisture cooling currents"),
    "computing": ("chips servers robots screens", "leakage bugs voltage caching"),
    "geography": ("rivers deserts glaciers islands", "erosion drought uplift sediment"),
}
VERBS = "grow fade shrink spread break vanish change freeze glow fail".split()
WEBGPT_SLOTS = {
    "effect": "noise damage growth profit".split(),
    "place": "europe asia brazil egypt".split(),
    "season": "winter summer dawn night".split(),
    "source": "experts surveys archives reporters".split(),
}
CITATIONS = ("[1]", "[2]", "[3]", "[4]")

FUNCTION = (
    "tl;dr my the it was we were at about i feel should saw anyway thanks long story "
    "topic is over so summary please help why do because of have brings common in seen by "
    "says hope this helps ask an expert short answer domain listen well , . ? ! :"
).split()


def vocabulary() -> list[str]:
    """Every word of the world, in a fixed order."""
    words = list(FUNCTION) + list(ACTS) + list(VERBS) + list(CITATIONS)
    for names in (TOPICS, DOMAINS):
        for name, (first, second) in names.items():
            words += [name, *first.split(), *second.split()]
    for slots in (TLDR_SLOTS, WEBGPT_SLOTS):
        for values in slots.values():
            words += values
    return list(dict.fromkeys(words))
