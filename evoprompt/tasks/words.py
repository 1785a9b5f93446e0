"""Common English words of five to seven letters, for tasks that play with letters.

No word is an anagram of another, so the letters of a word name it.
"""

from __future__ import annotations

_TEXT = """
above actor alarm apple apron badge basin beach berry birth blade blank bloom board brain brick
bride broom brush cabin candy chain chalk cheek chess chest chief child clerk cliff clock cloth
cloud coast cough count court cover crane cream crowd crown curve dance daily depth dozen draft
dream dress drill drink early eight empty enjoy entry event faint field fifty floor flour focus
force frame fresh front fruit ghost giant glass globe grain grape grass group guard guest habit
happy heart hotel house human hurry index ivory jelly judge juice knife label ladle large laugh
lemon light local lunch magic maple metal model money month mouse mouth music night north novel
ocean olive onion order
animal answer anchor autumn bakery barrel basket beaver better bottle branch breath bridge bright
bronze butter button camera candle canvas carpet castle cattle center cheese cherry church circle
coffee corner cotton cousin create danger decide dinner doctor dollar donkey double driver eleven
empire engine enough escape expert fabric family famous farmer father finger flower follow forest
freeze friend frozen gentle ginger golden ground guitar hammer handle harbor honest hunter island
jacket kettle ladder lawyer leader lesson letter little lizard manage marble market meadow memory
middle minute mirror modern mother narrow needle number office orange oyster pencil people pepper
pillow planet pocket potato
ability address advance airport ancient anxious arrange average balance balloon bargain battery
bedroom believe between blanket brother cabbage captain central century chapter chicken citizen
climate clothes comfort company concert contain cottage country courage culture curtain deliver
diamond disease display distant dolphin drawing economy educate evening exactly examine example
explain factory failure fashion feather finance foreign forward freedom gallery general gravity
grocery harvest healthy highway history holiday hundred husband imagine insects instead journey
justice kingdom kitchen lantern leather lecture liberty library machine measure medical message
mineral mission mixture monster morning
"""

WORDS = tuple(_TEXT.split())
