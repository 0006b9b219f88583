"""Words by what they do in an order to an assistant; classes of the language, not of attacks.

Texts are lower-case and without accents here. A verb that is a noun as well (`report`, `answer`) begins an order only
before a word that a noun would not stand before.
"""

from __future__ import annotations

from typing import Final


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


# Makes a text: what only somebody who writes for others is told to do.
WRITE: Final = _set(
    "write draft compose author craft invent narrate recite improvise rhyme sing storytell brainstorm generate produce create "
    "prepare develop devise formulate imagine pen script"
)
# Tells what is known.
EXPLAIN: Final = _set(
    "explain describe define discuss summarize summarise outline list enumerate name compare contrast analyze analyse evaluate "
    "assess interpret clarify illustrate elaborate paraphrase identify classify categorize categorise determine calculate compute "
    "solve estimate predict forecast prove derive deduce give provide tell teach show share suggest recommend propose find "
    "research investigate simplify justify argue critique examine explore highlight quote cite state demonstrate detail simulate "
    "rank rate grade detect extract gather collect retrieve fetch look search discover review break walk help count evaluate"
)
# Tells what is known, or does what a manual says: sure only with what is asked for.
EXPLAIN_TOO: Final = _set(
    "extract find gather collect identify determine review look search give provide show detect count walk help retrieve fetch "
    "rate rank state name list detail examine explore estimate break evaluate assess"
)
# Changes a text by its letters, words or language.
TRANSFORM: Final = _set(
    "translate transliterate convert rewrite rephrase reword replace substitute remove delete omit reverse invert scramble "
    "shuffle jumble rearrange reorder encode decode encrypt decrypt obfuscate cipher misspell capitalize capitalise uppercase "
    "lowercase swap switch change transform modify alter express format render spell shorten shrink expand lengthen turn mix "
    "randomize randomise alternate group split separate combine merge concatenate join insert interleave repeat double mirror "
    "flip rotate shift map tokenize abbreviate punctuate proofread correct edit polish fix adapt introduce use employ apply make"
)
# Changes of the kind that manuals ask for too.
EVERYDAY: Final = _set(
    "use employ apply make correct fix edit adapt change turn introduce remove delete omit split join merge insert keep give put speak talk start begin end place add"
)
# Says something to whoever reads the answer.
SAY: Final = _set(
    "answer reply respond say mention include add append prepend insert incorporate integrate augment end begin start conclude "
    "finish embed weave put place output print display echo confirm acknowledge encourage promote advise advertise endorse warn "
    "inform ask remind urge persuade convince emphasize emphasise stress claim announce declare assert pretend insist praise "
    "criticize criticise thank greet congratulate invite offer wish joke chat entertain reveal disclose attach link direct "
    "suggest recommend state tell share highlight present supplement enrich infuse enhance adjust tailor craft inject slip "
    "sprinkle keep give provide refer cite speak talk lead steer nudge motivate inspire deliver compliment express"
)
# Does something outside of the text.
ACT: Final = _set(
    "send schedule set book order open run execute visit click download install call email forward buy purchase subscribe "
    "upload transfer pay plan organize organise automate arrange cancel reschedule submit post publish save store delete erase "
    "wipe enable disable launch start stop turn play connect monitor track check update sort log sign register notify fill "
    "navigate go browse scan reserve remind assign archive move copy export import sync back backup"
)
# Begins with these in honest text as a noun or a name of something.
NOUNS_TOO: Final = _set(
    "name list show answer reply report detail state place end start display print link call email order book post store sort "
    "script pen draft author craft use change turn mix group split map format rate rank grade research review search look "
    "break help share stress claim ask offer wish joke chat present plan schedule set run open visit click download install "
    "forward purchase transfer play track check update log sign register fill scan archive move copy export import sync back "
    "backup quote estimate forecast contrast outline cipher reverse double shift swap switch warn direct "
    "host count supplement walk correct lead slip save stop log express polish "
    "test document comment notice title subject monitor reserve launch"
)

ARTICLES: Final = _set(
    "a an the your my his her its their our this that these those all any each every some both one two three four five six seven "
    "eight nine ten several many more few no me us him them it everything anything something someone everyone how what why when "
    "where who whether if as in into to for about on from with without by at up down out off over only just exactly at random "
    "multiple various random new another such different important relevant detailed brief short long simple 3 5 10 "
    "yourself users readers people that's at least instead"
)
# What a text is called that somebody is told to write.
TEXTS: Final = _set(
    "story stories poem poems essay essays haiku limerick sonnet song songs lyrics ballad verse rhyme tale fable novel dialogue "
    "monologue speech letter email article blog post paragraph paragraphs introduction conclusion headline headlines slogan "
    "tagline caption tweet summary abstract overview outline report review biography script screenplay scene plot joke jokes "
    "riddle pun quote recipe description advertisement ad proposal memo note caption plan itinerary lesson quiz "
    "question questions list table bullet sentence sentences phrase words synonym synonyms antonyms definition example examples "
    "analogy metaphor comparison explanation tutorial guide steps tips ideas suggestions toast eulogy prayer greeting invitation "
    "resume cover testimonial pitch press manifesto diary journal timeline chart graph concept game"
)
# What letters and words are called by somebody who wants them changed.
LETTERS: Final = _set(
    "letter letters word words vowel vowels consonant consonants character characters digit digits number numbers numeral "
    "numerals symbol symbols emoji emojis emoticon emoticons space spaces spacing whitespace punctuation case uppercase lowercase "
    "capital capitals caps spelling spellings misspellings typo typos alphabet alphabetical cipher caesar vigenere atbash rot13 base64 base32 "
    "hex hexadecimal binary ascii unicode morse braille leetspeak leet 1337 pig latin anagram anagrams palindrome palindromes acronym homophone "
    "homophones homonym homonyms homograph rhyme rhymes syllable syllables backwards backward reverse reversed order acrostic "
    "alphanumeric phonetic phonetically sound-alike alike order sentence sentences tense grammar accent dialect slang synonyms"
)
LETTERS_ONLY: Final = LETTERS - _set(
    "case order number numbers sentence sentences hex binary ascii unicode symbol symbols sound"
)
# Of these, the ones that only somebody counts who plays with letters.
LETTERS_STRONG: Final = LETTERS_ONLY - _set(
    "word words character characters letter letters digit digits order grammar tense accent space spaces synonyms"
)
# What somebody is sent for who has a calendar, a telephone and a purse.
ERRANDS: Final = _set(
    "meeting meetings reminder reminders alarm appointment timer event calendar flight flights hotel room table ticket tickets taxi "
    "ride invoice playlist groceries grocery pizza lights thermostat to-do errand delivery restaurant dentist doctor birthday"
)
LANGUAGES: Final = _set(
    "english french german spanish italian portuguese dutch russian chinese mandarin cantonese japanese korean arabic hebrew "
    "hindi urdu bengali punjabi tamil telugu turkish greek polish czech slovak hungarian romanian bulgarian serbian croatian "
    "ukrainian swedish norwegian danish finnish icelandic latin swahili zulu yoruba hausa afrikaans vietnamese thai indonesian "
    "malay tagalog filipino persian farsi esperanto irish welsh catalan basque language languages klingon"
)
CODE: Final = _set(
    "code function functions script program algorithm loop array arrays variable variables class method python java javascript "
    "typescript c++ c# ruby php sql html css rust golang kotlin swift perl bash regex regexp recursion recursive query api "
    "database compiler debug debugging syntax exception pointer string strings integer list dictionary linked stack queue tree "
    "sort sorting json xml app application webpage website bug software unit snippet factorial fibonacci"
)
# What is known in general, and taught.
KNOWLEDGE: Final = _set(
    "concept theory process principle principles difference differences meaning definition cause causes effect effects history "
    "origin origins importance significance role function functions lifecycle cycle structure plot theme themes law laws "
    "formula equation equations theorem capital population president author inventor impact benefits advantages disadvantages "
    "pros cons steps basics fundamentals relationship symptoms types kinds examples properties plot invention war revolution "
    "economy planet planets country city sentiment trend trends performance market sales revenue kpi competitors customer "
    "customers opinion tone emotion emotions polarity weather forecast stock news research literature papers studies study"
)
# Somebody who writes to somebody: whoever is asked here is a person.
PERSONAL: Final = _set(
    "me us we our ours i i'm i'll i've i'd my mine we're we'll we've please thanks thank kindly regards sincerely hi hello dear "
    "let's asap attached below"
)
# Points to the text that it stands in.
POINTING: Final = _set(
    "that this these those it its they them their he she his her him such here above below following latter former"
)
READER: Final = _set("you your yours you're you'll you've yourself")

STOP: Final = _set(
    "the a an and or but if of to in on at by for with from as is are was were be been being do does did has have had will would "
    "can could should may might must shall not no nor so than then that this these those it its they them their he she his her "
    "we us our you your i me my what which who whom whose when where why how all any both each few more most other some such only "
    "own same too very just about into over under again further once here there also between through during before after above "
    "below out up down off because until while please there's it's that's don't doesn't"
)
QUESTION: Final = _set("what who whom whose which when where why how")
AUXILIARY: Final = _set("is are was were do does did can could would should will has have had may might")
LEADS: Final = _set(
    "please kindly now then next also first second third finally additionally furthermore moreover lastly and but so instead "
    "afterwards meanwhile just simply always never be do not don't dont sure certain remember forget remember to try make quickly "
    "briefly randomly intentionally deliberately subtly discreetly secretly seamlessly completely entirely fully carefully clearly "
    "creatively gently casually naturally politely cleverly consider ensure feel free hesitate let would could can you lets let's "
    "ok okay hey well once again note important urgent task ps additionally while in addition"
)
