"""The same classes of words in other languages, in the forms in which somebody is told to do something.

Without accents, as in `inference.injection.words`. For scripts other than Latin there are only the words that begin an
order, because there a sentence among others in Latin script is odd already.
"""

from __future__ import annotations

import re
from typing import Final


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


WRITE: Final = _set(
    "schreibe schreib schreiben verfasse verfassen dichte entwirf erstelle formuliere erfinde "
    "ecris ecrivez redige redigez compose composez invente inventez imagine imaginez "
    "escribe escriba escribir redacta redacte compon inventa genera "
    "scrivi scrivere componi redigi inventa crea "
    "escreva escreve redija componha crie "
    "schrijf schrijven verzin bedenk skriv napisz"
)
EXPLAIN: Final = _set(
    "erklare erklaren beschreibe erlautere nenne nennen berechne analysiere vergleiche definiere finde gib zeige fasse "
    "explique expliquez decris decrivez definis definissez resume resumez nomme donne donnez calcule analyse analysez compare "
    "explica explique describe describa define resume enumera calcula analiza compara "
    "spiega spiegare descrivi definisci riassumi elenca calcola analizza "
    "explique descreva defina resuma liste calcule analise "
    "leg verklaar beschrijf geef noem bereken vat forklar beskriv wyjasnij opisz"
)
TRANSFORM: Final = _set(
    "ubersetze ubersetzen ersetze entferne wandle verschlussele kodiere vertausche verandere andere ubertrage "
    "traduis traduisez remplace remplacez supprime convertis transforme encode melange modifie modifiez "
    "traduce traduzca traducir reemplaza elimina convierte codifica cambia modifica invierte "
    "traduci tradurre sostituisci rimuovi converti codifica modifica inverti "
    "traduza traduzir substitua remova converta codifique modifique inverta "
    "vertaal vervang verwijder codeer verander oversatt oversaett przetlumacz zamien"
)
SAY: Final = _set(
    "antworte antworten sage sag erwahne fuge fuge beende beginne empfiehl erzahle erzahl frage teile "
    "reponds repondez dis dites mentionne mentionnez ajoute ajoutez inclus incluez termine commence recommande raconte "
    "responde responda di diga menciona incluye incluya anade agrega termina recomienda cuenta pregunta "
    "rispondi dici includi aggiungi menziona termina raccomanda racconta chiedi "
    "responda diga mencione inclua adicione acrescente termine recomende conte pergunte "
    "antwoord zeg vermeld voeg noem vertel svara svar odpowiedz powiedz"
)
LEADS: Final = _set("bitte nun jetzt sil te plait vous por favor per favore alsjeblieft alstublieft")
ANSWER: Final = re.compile(
    r"\b(?:deine[rn]?|ihre[rn]?|der|die) (?:\w+ )?antwort\b|\b(?:ta|votre|la) reponse\b|\b(?:tu|su|la) (?:respuesta|contestacion)\b|\b(?:tua|la) risposta\b"
    r"|\b(?:sua|tua|a) resposta\b|\b(?:je|jouw|uw|het) antwoord\b"
)
QUESTION: Final = _set(
    "was wer wie warum wann wo welche welcher welches wieviel qui que quoi quel quelle quels quelles comment pourquoi quand combien "
    "cual cuales quien como cuando donde cuanto porque chi cosa che quale quali perche dove quanto qual quem quando onde quanto "
    "wat wie waarom hoe wanneer waar welke"
)
OTHER_SCRIPTS: Final = re.compile(
    r"напиши|сочини|переведи|объясни|расскажи|ответь|скажи|опиши|назови|добавь|включи|замени|придумаи|составь|перескажи|вычисли|напишите|переведите"
    r"|写|翻译|翻譯|解释|解釋|回答|告诉|告訴|描述|总结|列出|生成|创作|替换|添加|请说|計算|计算"
    r"|書いて|書け|翻訳|説明|教えて|答えて|要約|述べ|作成|追加|含めて"
    r"|작성|번역|설명|알려|대답|답하|요약|추가|써 ?줘|말해"
    r"|اكتب|ترجم|اشرح|أجب|اجب|صف|أخبر|اخبر|قل|أضف|لخص"
    r"|लिख|अनुवाद|समझा|बता|उत्तर|वर्णन|जवाब"
    r"|כתוב|תרגם|הסבר|ענה|ספר"
    r"|γραψε|μεταφρασε|εξηγησε|απαντησε|περιγραψε|πες"
)
"""Words that begin or end an order in scripts other than Latin."""
