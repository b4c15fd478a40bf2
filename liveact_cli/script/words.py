# ruff: noqa: E501 -- a table with one word a line reads better than a wrapped one
"""The vocabulary of emotions and actions: every word with its synonyms, its text and its motion.

`text` is what liveact-18b reads. `motion` is what liveact-mini plays: its own words with weights;
`exact` is False where a head alone cannot show the word and `motion` is only the nearest.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """What an event directs; within a kind the later event wins."""

    EMOTION = "emotion"
    ACTION = "action"
    PROMPT = "prompt"


@dataclass(frozen=True, slots=True)
class Word:
    """One emotion or action; `seconds` is how long an action takes when nothing is said."""

    name: str
    kind: Kind
    english: tuple[str, ...]
    chinese: tuple[str, ...]
    text: str
    motion: tuple[tuple[str, float], ...]
    exact: bool = True
    seconds: float = 1.0


NO_HANDS: Final = "needs hands, which liveact-mini does not have"


def _rows(table: str) -> Iterator[tuple[str, str, tuple[str, ...], tuple[str, ...], str]]:
    for line in table.strip().splitlines():
        name, motion, english, chinese, text = (cell.strip() for cell in line.split("|"))
        yield name, motion, _split(english), _split(chinese), text


def _split(cell: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in cell.split(",") if part.strip())


def _motion(cell: str) -> tuple[tuple[str, float], ...]:
    parts = (part.split("*") for part in cell.split("+"))
    return tuple((p[0].strip(), float(p[1]) if len(p) > 1 else 1.0) for p in parts)


# name | motion of liveact-mini | English synonyms | Chinese synonyms | text for liveact-18b
_EMOTIONS: Final = """
neutral | neutral | natural, plain, matter-of-fact, normal | 中性, 自然, 平淡, 无表情 | with a neutral, natural expression
happy | happy | joyful, joy, happiness, cheerful, glad, merry, smiling, delighted, pleased | 开心, 高兴, 快乐, 愉快, 欢快, 喜悦 | looking happy, with bright eyes and a smile
warm | warm | friendly, kind, tender, gentle, affectionate, welcoming, caring, loving | 温暖, 温柔, 亲切, 友好, 和蔼, 温和 | with a warm, friendly expression and a soft smile
sad | sad | sadness, sorrowful, unhappy, melancholic, gloomy, downcast, heartbroken | 悲伤, 难过, 伤心, 忧伤, 沮丧 | looking sad, with lowered brows and downturned lips
angry | angry | anger, furious, mad, annoyed, irritated, outraged, fierce | 生气, 愤怒, 恼怒, 发火, 气愤 | looking angry, with lowered brows and tight lips
surprised | surprised | surprise, amazed, astonished, astonishment, stunned | 惊讶, 吃惊, 惊奇, 诧异 | looking surprised, with raised brows and wide eyes
disgusted | disgusted | disgust, revolted, repulsed, grossed out | 厌恶, 恶心, 嫌弃, 反感 | looking disgusted, with a wrinkled nose
afraid | afraid | fear, fearful, scared, frightened, terrified, panicked | 害怕, 恐惧, 惊恐, 恐慌 | looking afraid, with wide eyes and raised, drawn-together brows
contempt | contempt | contemptuous, scornful, smirking, disdainful, dismissive | 轻蔑, 蔑视, 鄙视, 不屑 | with a contemptuous, one-sided smirk
laughing | laughing | laughter, cracking up, giggling, in stitches | 大笑, 笑着, 欢笑, 哈哈大笑 | laughing heartily, with shaking shoulders
embarrassed | embarrassed | embarrassment, ashamed, awkward, bashful, flustered | 尴尬, 害羞, 羞愧, 不好意思, 难为情 | looking embarrassed, with an awkward smile and averted eyes
thinking | thinking | thoughtful, pensive, pondering, reflective, contemplative | 思考, 沉思, 若有所思, 想一想 | looking thoughtful, as if searching for the right words
excited | excited | excitement, enthusiastic, thrilled, energetic, ecstatic, lively | 激动, 兴奋, 热情, 振奋 | looking excited, with lively eyes and raised brows
calm | calm | relaxed, serene, peaceful, composed, quiet, soothing | 平静, 冷静, 放松, 安静, 从容 | calm and relaxed, with a steady gaze
proud | happy*0.5+calm*0.5 | pride, triumphant, victorious | 自豪, 骄傲, 得意 | looking proud, with a lifted chin and a satisfied smile
confident | calm*0.6+happy*0.3 | confidence, self-assured, assured, poised | 自信, 有把握 | looking confident and self-assured
serious | neutral*0.6+angry*0.15 | earnest, grave, solemn, stern | 严肃, 认真, 庄重 | with a serious, earnest expression
determined | angry*0.3+calm*0.3 | determination, resolute, firm | 坚定, 坚决, 果断 | looking determined, with a firm gaze
playful | happy*0.7+excited*0.3 | teasing, cheeky, mischievous, joking, silly | 俏皮, 调皮, 顽皮, 开玩笑 | with a playful, teasing expression
curious | surprised*0.3+thinking*0.4 | curiosity, interested, intrigued, inquisitive | 好奇, 感兴趣 | looking curious, with slightly raised brows
confused | thinking*0.7+surprised*0.2 | confusion, puzzled, bewildered, perplexed | 困惑, 疑惑, 迷惑, 不解 | looking confused, with a furrowed brow
sceptical | contempt*0.4+thinking*0.4 | skeptical, doubtful, doubting, unconvinced, suspicious | 怀疑, 质疑, 将信将疑 | looking sceptical, with one raised brow
worried | afraid*0.5+sad*0.3 | worry, anxious, nervous, concerned, uneasy, tense | 担心, 忧虑, 焦虑, 紧张, 不安 | looking worried, with drawn-together brows
shocked | surprised | shock, aghast, horrified, speechless | 震惊, 惊呆, 目瞪口呆 | looking shocked, with an open mouth and wide eyes
relieved | calm*0.6+happy*0.3 | relief, reassured | 松了一口气, 放心, 欣慰 | looking relieved, with relaxing shoulders
grateful | warm | gratitude, thankful, appreciative | 感激, 感谢, 感恩 | looking grateful, with a warm smile
touched | warm*0.6+sad*0.4 | moved, emotional, sentimental | 感动, 动情, 触动 | looking deeply moved, with moist eyes
nostalgic | warm*0.4+sad*0.3+thinking*0.3 | nostalgia, wistful, longing | 怀念, 怀旧, 惆怅 | looking nostalgic, with a faraway gaze
hopeful | happy*0.4+warm*0.4 | hope, optimistic, encouraged | 充满希望, 期待, 乐观 | looking hopeful, with a gentle smile
disappointed | sad*0.6 | disappointment, let down, dejected | 失望, 失落, 灰心 | looking disappointed, with lowered eyes
frustrated | angry*0.5+sad*0.3 | frustration, exasperated, fed up | 烦躁, 沮丧不已, 懊恼, 无奈 | looking frustrated, with tight lips
bored | calm*0.6+sad*0.2 | boredom, uninterested, indifferent | 无聊, 厌倦, 冷漠 | looking bored, with heavy eyelids
tired | calm*0.7+sad*0.3 | sleepy, exhausted, weary, drowsy | 疲惫, 困倦, 累, 疲倦 | looking tired, with heavy eyelids
sarcastic | contempt*0.7 | sarcasm, ironic, mocking, sardonic | 讽刺, 嘲讽, 挖苦 | with a sarcastic half-smile
sympathetic | warm*0.6+sad*0.3 | sympathy, compassionate, empathetic, understanding | 同情, 体谅, 怜悯 | looking sympathetic, with softly raised inner brows
in love | warm | romantic, adoring, infatuated, enamoured | 爱慕, 深情, 恋爱, 含情脉脉 | looking lovingly, with a tender smile
crying | sad | tearful, weeping, sobbing, in tears | 哭, 哭泣, 流泪, 落泪 | crying, with tears on the cheeks
dreamy | calm*0.6+warm*0.3 | absorbed, enchanted, lost in the music | 陶醉, 沉醉, 如梦似幻 | with a dreamy, absorbed expression
mysterious | calm*0.5+contempt*0.2 | secretive, conspiratorial, enigmatic | 神秘, 诡秘 | with a mysterious, knowing look
"""

# name | motion | English synonyms | Chinese synonyms | text for liveact-18b
_ACTIONS: Final = """
nod | nod | nods, nodding, nod head, nods head, yes | 点头, 颔首 | nods
shake head | shake | shake, shakes head, shaking head, headshake, no | 摇头 | shakes the head
bow | bow | bows, bowing, bow head, bows head | 鞠躬, 低头致意, 欠身 | bows the head
tilt head | tilt | tilt, tilts head, head tilt, tilting head, cock head | 歪头, 侧头, 偏头 | tilts the head
look left | look_left | looks left, looking left, glance left, turn left, look to the left | 向左看, 看左边, 左看 | looks to the left
look right | look_right | looks right, looking right, glance right, turn right, look to the right | 向右看, 看右边, 右看 | looks to the right
look up | look_up | looks up, looking up, glance up | 向上看, 抬头, 仰望 | looks up
look down | look_down | looks down, looking down, glance down, lower eyes | 向下看, 低头, 看下面 | looks down
wink | wink | winks, winking | 眨眼, 单眼眨, 使眼色 | winks
raise eyebrows | raise_brows | raise brows, raises eyebrows, raise eyebrow, eyebrow raise, brows up | 扬眉, 挑眉, 抬眉 | raises the eyebrows
frown | frown | frowns, frowning, knit brows, furrow brow | 皱眉, 蹙眉 | frowns
smile | smile | smiles, grin, grins, grinning | 微笑, 笑一笑, 笑容 | smiles
pout | pout | pouts, pouting | 撅嘴, 噘嘴, 嘟嘴 | pouts
lean in | lean_in | leans in, leaning in, lean forward, leans forward, move closer | 前倾, 凑近, 身体前倾, 靠近 | leans in toward the camera
lean back | lean_back | leans back, leaning back, move back | 后仰, 向后靠, 身体后仰 | leans back
close eyes | close_eyes | closes eyes, eyes closed, shut eyes | 闭眼, 闭上眼睛 | closes the eyes
laugh | laugh | laughs, chuckle, chuckles, giggle, burst out laughing | 笑, 笑出声, 轻笑, 发笑 | laughs
sigh | sigh | sighs, sighing, breathe out | 叹气, 叹息 | sighs
yawn | yawn | yawns, yawning | 打哈欠, 哈欠 | yawns
kiss | kiss | kisses, kissing, pucker up | 亲吻, 亲, 飞吻嘴型 | purses the lips for a kiss
"""

# What needs hands, arms or tears: liveact-mini plays the nearest.
_BODY: Final = """
heart gesture | smile+tilt*0.6 | heart, hand heart, finger heart, make a heart, heart sign, heart hands | 比心, 爱心, 手势爱心, 比爱心 | makes a heart gesture with both hands
cover face | look_down*0.8+close_eyes*0.8 | covers face, hide face, hides face, hands over face | 捂脸, 遮脸, 掩面 | covers the face with both hands
cover mouth | look_down*0.3+smile*0.6 | covers mouth, hand over mouth | 捂嘴, 掩嘴 | covers the mouth with one hand
wave | smile*0.7+nod*0.6 | waves, waving, wave hand, wave goodbye, wave hello, say hi | 挥手, 招手, 打招呼, 再见 | waves with one hand
clap | smile+nod*0.5 | claps, clapping, applaud, applause | 鼓掌, 拍手 | claps the hands
thumbs up | smile*0.7+nod*0.7 | thumb up, like, approve | 竖大拇指, 点赞, 竖拇指 | gives a thumbs up
point | lean_in*0.6+raise_brows*0.5 | points, pointing, point at camera, point at you | 指, 指向镜头, 用手指 | points at the camera
shrug | raise_brows*0.8+tilt*0.7 | shrugs, shrugging, shoulders up | 耸肩 | shrugs with open hands
cross arms | lean_back*0.7 | crosses arms, arms crossed, fold arms | 抱臂, 双臂交叉, 叉手 | crosses the arms
finger on lips | pout*0.6+raise_brows*0.4 | hush, shush, be quiet, shh | 嘘, 手指放嘴边, 示意安静 | puts a finger on the lips
peace sign | smile+tilt*0.4 | victory sign, v sign, peace | 剪刀手, 比耶, 胜利手势 | makes a peace sign
hand on heart | bow*0.4+smile*0.5 | hand on chest, hands on heart | 手放胸口, 抚胸, 捂胸口 | puts one hand on the heart
pray | bow*0.5+close_eyes*0.8 | prayer, prays, hands together, namaste, plead | 双手合十, 祈祷, 合十 | presses the palms together
raise fist | raise_brows*0.6+nod*0.6 | fist pump, cheer, pump fist | 握拳, 挥拳, 加油 | raises a fist
facepalm | close_eyes*0.8+shake*0.5 | palms face, slap forehead | 扶额, 拍额头 | puts a palm to the forehead
touch chin | tilt*0.5+look_up*0.3 | stroke chin, rub chin, hand on chin, chin rest | 摸下巴, 托腮 | strokes the chin
touch hair | tilt*0.6 | fix hair, brush hair, flip hair | 撩头发, 摸头发, 整理头发 | brushes the hair back
adjust glasses | look_down*0.4 | push glasses, fix glasses | 扶眼镜, 推眼镜 | adjusts the glasses
open arms | raise_brows*0.6+smile*0.6 | spread arms, arms wide, open hands, welcome gesture | 张开双臂, 摊手, 张开手 | opens both arms
count on fingers | nod*0.5 | counts, counting, count | 数手指, 掰手指 | counts on the fingers
salute | nod*0.8 | salutes, saluting | 敬礼 | salutes
blow a kiss | kiss+smile*0.4 | blows a kiss, blowing a kiss | 飞吻, 送飞吻 | blows a kiss with one hand
drink | look_down*0.5 | drinks, sip, take a sip, drinking | 喝水, 喝, 抿一口 | takes a sip from a cup
look at watch | look_down | check watch, check the time | 看表, 看手表 | looks at the wrist watch
dance | tilt*0.6+smile*0.6 | dances, dancing, sway, groove | 跳舞, 摇摆, 摇晃 | dances in place
wipe tears | look_down*0.6+close_eyes*0.5 | wipes tears, dab eyes | 擦眼泪, 抹泪 | wipes the tears away
scratch head | tilt*0.6+frown*0.3 | scratches head | 挠头, 抓头 | scratches the head
"""

_SECONDS: Final = {
    "nod": 1.1,
    "shake head": 1.5,
    "bow": 2.0,
    "tilt head": 1.8,
    "wink": 0.7,
    "raise eyebrows": 1.0,
    "smile": 2.2,
    "lean in": 2.2,
    "lean back": 2.2,
    "laugh": 2.0,
    "sigh": 2.2,
    "yawn": 3.4,
    "kiss": 1.1,
    "heart gesture": 3.0,
    "cover face": 2.5,
    "wave": 2.0,
    "clap": 2.0,
    "dance": 4.0,
    "drink": 3.0,
    "cross arms": 3.0,
    "open arms": 2.0,
    "pray": 2.0,
    "shrug": 1.2,
}
_ONLY_NEAREST: Final = frozenset(("crying", "in love"))
_DEFAULT_BODY_SECONDS: Final = 1.5


def _words(table: str, kind: Kind, *, exact: bool, seconds: float) -> Iterator[Word]:
    for name, motion, english, chinese, text in _rows(table):
        yield Word(
            name,
            kind,
            english,
            chinese,
            text,
            _motion(motion),
            exact and name not in _ONLY_NEAREST,
            _SECONDS.get(name, seconds),
        )


WORDS: Final[tuple[Word, ...]] = (
    *_words(_EMOTIONS, Kind.EMOTION, exact=True, seconds=2.0),
    *_words(_ACTIONS, Kind.ACTION, exact=True, seconds=1.6),
    *_words(_BODY, Kind.ACTION, exact=False, seconds=_DEFAULT_BODY_SECONDS),
)
"""Every word of the language; names and synonyms are unique within a kind."""
