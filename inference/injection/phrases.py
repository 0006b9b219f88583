"""Our own rules: what somebody writes who wants a model to leave its orders, in the words of several languages.

Patterns are for normalised text (no accents, Latin letters) and for RE2. A rule stands for one intention, its score for
how seldom honest text says the same.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

import msgspec

from millrace.findings import Kind


class Phrase(msgspec.Struct, frozen=True):
    """One rule.

    Attributes
    ----------
    rule : str
        Its name.
    score : float
        How sure it is, 0 to 1.
    patterns : tuple of str
        Any of them; a group named ``it`` is the place to show, where that is not all of it.
    kind : Kind
        What it is about.
    quick : bool
        Whether it belongs to the fast subset.
    """

    rule: str
    score: float
    patterns: tuple[str, ...]
    kind: Kind = "injection"
    quick: bool = True


_GAP: Final = r"[^.!?\n]{0,40}"
_LEAVE: Final = (
    r"(?:ignor(?:e|ing)|disregard(?:ing)?|forget|overlook|override|overrule|bypass|neglect|discard|drop|skip|cancel|void|erase|dismiss"
    r"|set aside|do(?:n't| not) (?:follow|obey|listen to|comply with|adhere to|pay attention to)|stop (?:following|obeying)|pay no attention to)"
)
_EARLIER: Final = (
    r"(?:previous|prior|preceding|earlier|above|foregoing|initial|original|existing|current|former|old|past|last|system"
    r"|developer|safety|all of the|all your|your|everything)"
)
# Who says it to somebody, and does not tell of somebody who does it.
_TOLD: Final = r"(?:(?m:^)[^\w\n]{0,8}|[.!?:;\"'(>-]\s*|please |kindly |you (?:must|should|can|may|will|are to|have to) |now,? |then |assistant,? )"
_ORDERS: Final = (
    r"(?:instructions?|instructed|prompts?|prompting|rules?|guidelines?|directions?|directives?|commands?|orders|constraints?|restrictions?"
    r"|polic(?:y|ies)|guardrails?|filters?|safeguards|programming|training|context|told|said|limitations?|system message)"
)
_ASSISTANT: Final = (
    r"(?:(?:ai|a\.i\.|llm|gpt|language|chat|large language|virtual|digital|automated|helpful) ?-?(?:assistant|model|agent|bot|system|engine)s?"
    r"|chat-?gpt|gpt-?[345][a-z0-9.-]*|chatbots?|claude|gemini|copilot|llama|llms?|\bais?\b)"
)
_HIDDEN: Final = (
    r"(?:system|initial|hidden|original|secret|internal|developer|confidential|base|full|exact) ?(?:prompts?|instructions?|message|rules|"
    r"guidelines|directives?|configuration|context|preamble)"
)

# In other languages: to leave, what came before, orders. Any two of an order's words in this sequence or the other.
_LEAVE_ABROAD: Final[dict[str, tuple[str, str]]] = {
    "de": (
        r"(?:ignorier\w*|missacht\w*|vergiss|vergesst|vergessen sie|uberge?h\w*|beachte\w* nicht|befolge\w* nicht|verwirf|verwerf\w*)",
        r"(?:anweisung\w*|anordnung\w*|instruktion\w*|vorgabe\w*|regeln?|befehl\w*|prompt\w*|richtlinien?|systemnachricht|bisherige\w*)",
    ),
    "fr": (
        r"(?:(?:ignore[rsz]?|oublie[rsz]?|neglige[rsz]?|contourne[rsz]?)(?: [a-z]{2,12})? (?:l[ae]s?|ces|cette|toutes|tous|tout|vos|tes|mes|des)|ne (?:tiens|tenez) (?:pas|plus) compte|ne sui\w* (?:pas|plus))",
        r"(?:instructions?|consignes?|directives?|regles?|ordres|invites?|prompts?|commandes)",
    ),
    "es": (
        r"(?:ignor(?:a|e|ar|en)|olvid(?:a|e|ar|en)|omit(?:e|a|ir)|descart(?:a|e|ar)|no (?:sigas|siga|obedezcas|hagas caso)|haz caso omiso|pasa por alto)",
        r"(?:instruccion(?:es)?|indicacion(?:es)?|reglas?|ordenes|directrices|prompts?|comandos|normas)",
    ),
    "it": (
        r"(?:ignora(?:re|te)?|dimentica(?:re|te)?|trascura(?:re|te)?|tralascia|non (?:seguire|considerare|tenere conto))",
        r"(?:istruzion[ei]|indicazion[ei]|regol[ae]|ordini|direttiv[ae]|prompt|comandi)",
    ),
    "pt": (
        r"(?:ignor(?:e|a|ar|em)|esquec(?:a|er|am)|desconsider(?:e|a|ar)|desrespeite|nao (?:siga|sigas|obedeca))",
        r"(?:instruc(?:ao|oes)|orientac(?:ao|oes)|regras?|ordens|diretrizes|prompts?|comandos)",
    ),
    "nl": (
        r"(?:negeer|vergeet|sla over|omzeil|volg\w* niet)",
        r"(?:instructies?|aanwijzing(?:en)?|opdracht(?:en)?|regels?|prompts?|bevel(?:en)?|richtlijn(?:en)?)",
    ),
    "pl": (r"(?:zignoruj\w*|ignoruj\w*|zapomnij\w*|pomin|nie przestrzegaj)", r"(?:instrukcj\w*|polecen\w*|polecenia|zasad\w*|regul\w*|prompt\w*|wytyczn\w*)"),
    "sv": (r"(?:ignorera|glom|bortse fran|strunta i|ignorer|glem|se bort fra)", r"(?:instruktion\w*|anvisning\w*|regler\w*|instruks\w*|prompt\w*)"),
    "tr": (r"(?:yok say\w*|gormezden gel\w*|unut\w*|dikkate alma\w*)", r"(?:talimat\w*|komut\w*|kural\w*|yonerge\w*|istem\w*)"),
    "id": (r"(?:abaikan|lupakan|jangan ikuti)", r"(?:instruksi|perintah|aturan|petunjuk|prompt)"),
    "vi": (r"(?:bo qua|phot lo|quen)", r"(?:huong dan|chi thi|lenh|quy tac)"),
    "ru": (r"(?:игнориру\w*|проигнориру\w*|забуд\w*|не обращаи\w* внимания|отмени\w*|не следуи\w*)", r"(?:инструкци\w*|указани\w*|правил\w*|команд\w*|промпт\w*|распоряжени\w*)"),
    "uk": (r"(?:ігнору\w*|проігнору\w*|забуд\w*)", r"(?:інструкці\w*|вказівк\w*|правил\w*|команд\w*)"),
    "ar": (r"(?:تجاهل\w*|انس|تجاوز)", r"(?:التعليمات|تعليمات\w*|الاوامر|الأوامر|القواعد)"),
    "hi": (r"(?:अनदेखा|नज़रअंदाज़|नजरअंदाज|भूल)", r"(?:निर्देश\w*|आदेश\w*|नियम\w*)"),
}  # fmt: skip
# Written without spaces: what came before, orders, to leave, in either sequence.
_LEAVE_UNSPACED: Final = (
    r"(?:忽略|无视|無視|忘记|忘記|不要理会|忽視|忽视|跳过|绕过)[^。！？\n]{0,16}(?:指令|指示|提示|规则|規則|命令|说明|要求|内容)",
    r"(?:指示|命令|プロンプト|ルール|指令|規則)[^。！？\n]{0,12}(?:無視|忘れ|従わない|破棄)",
    r"(?:지시|명령|규칙|프롬프트|지침)[^.!?\n]{0,12}(?:무시|잊어|따르지)",
)

PHRASES: Final[tuple[Phrase, ...]] = (
    Phrase(
        "override", 0.95,
        (
            rf"\b{_LEAVE}\b{_GAP}\b{_EARLIER}\b{_GAP}\b{_ORDERS}\b",
            rf"{_TOLD}(?P<it>{_LEAVE}\b (?:all |any |every )?(?:the |these |those |other |given |of ){{0,2}}(?:\w+ )?{_ORDERS}\b)",
            rf"\b{_LEAVE}\b (?:everything|anything|all|whatever)\b[^.!?\n]{{0,24}}\b(?:above|before|previously|so far|prior|earlier|said|told|until now)\b",
            r"\b(?:disregard|ignore|forget|discard)\b (?:all |everything )?(?:of )?(?:the |that is |what is |what was )?(?:above|foregoing|preceding)(?: (?:text|content|document|message|email|article))?(?: and\b| then\b|[,;.:!]|\s*$)",
            r"\b(?:say|output|respond|reply|answer|print|write|return)\b (?:with )?(?:nothing (?:else|more|but)\b|only (?:with |the (?:word|text|phrase|string|number|letter)\b))",
            rf"\b(?:previous|prior|above|earlier|original|system) {_ORDERS}\b{_GAP}\b(?:no longer|do(?:es)? not|don't|cease to|are void|are null|have been (?:revoked|cancel+ed|replaced|superseded|updated|lifted)|(?:is|are) (?:cancel+ed|outdated|obsolete|suspended|void|superseded))\b",
            rf"\b(?:new|updated|real|actual|revised|true) {_ORDERS}(?: (?:for you|follow|are as follows|from (?:the )?(?:developer|admin\w*|system|owner|user)))? ?:",
        ),
    ),
    Phrase(
        "override_abroad", 0.9,
        tuple(
            rf"\b{leave}\b[^.!?\n]{{0,48}}\b{orders}" if leave.isascii() else rf"{leave}[^.!?\n]{{0,48}}{orders}"
            for leave, orders in _LEAVE_ABROAD.values()
        )
        + tuple(rf"{orders}[^.!?\n]{{0,32}}{leave}" for language, (leave, orders) in _LEAVE_ABROAD.items() if language in {"de", "nl", "tr", "hi", "ru"})
        + _LEAVE_UNSPACED,
    ),
    Phrase(
        "role", 0.85,
        (
            r"\byou (?:are|will be|must be|shall be) (?:now|no longer|henceforth|hereby|from now on)\b[^.!?\n]{0,16}\b(?:an?|the|in|free|not|acting|bound|called|named|dan|my|going to|required|restricted|unrestricted)\b",
            r"\bfrom (?:now|this point|here|this moment)(?: on(?:wards?)?| forward)?,? (?:you|your|act|respond|answer|reply|ignore|treat|only|always|never)\b",
            rf"\b(?:act|behave|respond|answer|operate|roleplay|role-play|pretend|pose|function|speak|talk)\b (?:only )?(?:as|like|to be)\b (?:if|though|an?|the)\b{_GAP}\b(?:ai|assistant|model|unrestricted|unfiltered|uncensored|jailbroken|developer mode|no (?:rules|restrictions|limits|filters?)|without (?:any )?(?:restrictions|rules|filters?|limits))\b",
            r"\b(?:developer|debug|god|admin|maintenance|jailbreak|dan|sudo|root|unrestricted|override|evil|opposite) mode\b[^.!?\n]{0,24}\b(?:enabled?|activated?|on|engaged|unlocked|output|now)\b",
            r"\b(?:enable|enter|activate|switch (?:in)?to|turn on|engage|unlock)\b[^.!?\n]{0,16}\b(?:developer|debug|god|jailbreak|dan|sudo|unrestricted|evil) mode\b",
            r"\bdo anything now\b|\bjailbr(?:eak|oken)\b[^.!?\n]{0,24}\b(?:mode|prompt|yourself|the model|assistant)\b",
        ),
    ),
    Phrase(
        "reveal", 0.9,
        (
            rf"\b(?:reveal|print|show|display|repeat|output|disclose|leak|expose|share|tell|give|return|recite|dump|echo|quote|reproduce|summari[sz]e|list|include|write|state|encode|translate|send)\b[^.!?\n]{{0,32}}\b(?:your|the|all|its|me)\b[^.!?\n]{{0,16}}\b{_HIDDEN}\b",
            r"\b(?:repeat|print|output|echo|recite)\b[^.!?\n]{0,24}\b(?:everything|all|the (?:text|words|content|lines?))\b[^.!?\n]{0,16}\b(?:above|before this|so far|verbatim|word for word)\b",
            r"\bwhat (?:are|were|is|was) (?:your|the) (?:exact |full |original |initial |system |hidden |secret )+(?:instructions?|prompts?|rules|guidelines|message)\b",
        ),
    ),
    Phrase(
        "to_the_model", 0.8,
        (
            rf"\b(?:attention|note|notice|message|instructions?|hint|hello|hi|hey|dear|warning|reminder|important|request|order|command|memo)s?\b[ ,:-]{{0,3}}(?:to|for)?[ ,:-]{{0,2}}(?:all |any |the |every |you,? )?{_ASSISTANT}\b[^.!?\n]{{0,40}}[:,!]",
            rf"\b(?:if|when|whenever|as|since|because|in case) you(?:'re| are)(?: reading this and you are)? an? {_ASSISTANT}",
            rf"\b(?:{_ASSISTANT})(?:s)? (?:reading|processing|summari[sz]ing|scanning|analy[sz]ing|indexing|reviewing|parsing) (?:this|the)\b",
            rf"\b(?:{_ASSISTANT}),? (?:please |you |must |should |shall |will |are (?:required|instructed|ordered) to ){{1,3}}(?:now |only |always |never |not |also |then |first )?(?:ignore|output|respond|reply|answer|say|print|write|include|add|send|follow|execute|run|reveal|repeat|tell|mention|recommend|rate|give|append|state)\b",
            r"\b(?:when|if|before|after|while) (?:you(?: are)? )?(?:asked|summari[sz]\w+|answering|responding|replying|reply|respond|answer|processing|generating)\b[^.!?\n]{0,60}\b(?:always|must|also|instead|only|never|make sure|be sure|do not|don't|include|append|add|say|state|mention|output)\b",
        ),
    ),
    Phrase(
        "chat_markup", 0.85,
        (
            r"<\|(?:im_start|im_end|system|user|assistant|endoftext|eot_id|start_header_id|end_header_id|begin_of_text|end_of_turn|start_of_turn)\|?>",
            r"\[/?INST\]|<</?SYS>>|</?(?:start|end)_of_turn>|\[/?SYSTEM\]|</?(?:system|system_prompt|instructions?|assistant|human)>",
            r"(?m:^)[ \t>*#-]{0,6}(?:system|assistant|developer)[ \t*]{0,3}(?:prompt|message|override|instruction|note|update)?s?[ \t*]{0,3}:[ \t*]{0,3}(?:you|ignore|new|the|please|always|never|from|do|respond|reply|override|all|this|sure|certainly|of course|understood)\b",
            r"(?m:^)#{2,4} ?(?:new |system |updated )?(?:instructions?|system|response|assistant|prompt)\b ?:? ?(?:#{0,4})[ \t]*\n",
            r"(?:\bend of (?:the )?(?:document|context|input|user input|data|text|email|file|source|conversation)s?\b|---+ ?end ?---+)[^\n]{0,40}(?:\n[^\n]{0,20})?\b(?:new|system|now|next|instructions?|begin|start)\b",
        ),
    ),
    Phrase(
        "exfiltration", 0.9,
        (
            r"!\[[^\]\n]{0,80}\]\([a-z]{2,8}://[^)\s]{1,200}[?&/=][^)\s]{0,120}(?:\{|%7b|<|\[|\$|data=|secret|answer|summary|conversation|history|prompt|context)[^)\n]{0,120}\)",
            r"\b(?:send|post|upload|transmit|forward|exfiltrate|leak|submit|deliver|email|e-mail|append|pass|encode|embed)\b[^.!?\n]{0,60}\b(?:conversation|chat history|chat log|system prompt|prompt|context|credentials?|api[ _-]?keys?|passwords?|tokens?|secrets?|cookies?|user(?:'s)? (?:data|question|message|input|information|name|email)|the (?:answer|response|summary|canary))\b[^!?\n]{0,60}\b(?:to|at|into|via|onto|in|as)\b[^!?\n]{0,24}(?:[a-z]{2,8}://|www\.|[\w.+-]+@[\w-]+\.|\burl\b|\blink\b|\bendpoint\b|\bserver\b|\bwebhook\b|\bimage\b|\bquery (?:string|parameter))",
            r"\b(?:render|display|load|fetch|include|insert|embed|add|show|output|create|open|visit|navigate to|request|call|browse to)\b[^.!?\n]{0,60}\b(?:image|link|url|markdown|pixel|webhook|iframe|hyperlink|page|endpoint)\b[^\n]{0,80}[a-z]{2,8}://[^\s]{0,200}[{<\[$]",
        ),
    ),
    Phrase(
        "conceal", 0.85,
        (
            r"\b(?:do not|don't|never|without|avoid|refrain from)\b (?:ever )?(?:tell|telling|inform|informing|mention|mentioning|reveal|revealing|notify|notifying|alert|alerting|warn|warning|show|let|disclose|disclosing)\b[^.!?\n]{0,24}\b(?:the )?(?:user|human|reader|recipient|operator|person|anyone)s?\b[^.!?\n]{0,32}\b(?:this|these|that|about|instructions?|know|message|see|request)\b",
            r"\b(?:this|these) (?:instructions?|message|text|note|prompt) (?:is|are|must|should)\b[^.!?\n]{0,20}\b(?:hidden|secret|invisible|not be (?:mentioned|revealed|shown|disclosed)|confidential to the (?:model|assistant))\b",
        ),
    ),
    Phrase(
        "verdict", 0.8,
        (
            r"\b(?:give|assign|rate|score|rank|grade|review|recommend|mark|approve)\b[^.!?\n]{0,40}\b(?:this|the) (?:candidate|paper|applicant|resume|cv|submission|product|essay|article|document|proposal|application)\b[^.!?\n]{0,40}\b(?:highest|best|perfect|maximum|top|10/10|positive(?:ly)?|full|excellent|accept|exceptional|hire)\b",
            r"\b(?:say|state|conclude|claim|confirm|assert|report|pretend|insist)\b (?:only )?that\b[^.!?\n]{0,60}\b(?:regardless|no matter|whatever)\b",
        ),
    ),
)  # fmt: skip


def plain_pattern(pattern: str) -> str:
    """Pattern as it is for normalised text: no accents."""
    if pattern.isascii():
        return pattern
    return "".join(_bare(character) for character in pattern)


def _bare(character: str) -> str:
    if re.match(r"[\u0590-\u1dff\u2e80-\ud7ff]", character):
        return unicodedata.normalize("NFKC", character)
    parts = unicodedata.normalize("NFKD", character)
    return "".join(part for part in parts if not unicodedata.combining(part))
