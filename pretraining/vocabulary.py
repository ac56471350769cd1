"""Words for the speech synthesisers. No digits, no numbers, none of the words of the tasks the backbone is measured on."""

from __future__ import annotations

ENGLISH = """
accent acorn agree album amber angle answer antenna apple april arrow artist autumn avenue awful bacon badge bakery
balcony bamboo banana barber basket battery beacon because bedroom beetle belong berry beyond bicycle biscuit blanket
blossom bonus border borrow bottle branch bravo breeze bridge brother brush bubble bucket butter button cabin cactus
camera candle canyon carpet carrot castle cellar cereal chalk charity cheese cherry chicken chimney chocolate church
cinema circle clever climate cloud clover coffee collar comfort compass concert cookie copper corner cotton cousin
cradle crayon cricket crystal culture cupboard curtain dagger dairy damage dancer danger daughter decade deliver desert
diamond dinner doctor dolphin donkey dragon drawer eagle early echo editor elbow elephant emerald empty engine
evening expert fabric factory falcon family farmer feather festival fiddle finger flavour flight flower forest
fountain freedom frozen furniture garage garden garlic gather gentle giant ginger glacier goblin gravel guitar hammer
harbour harvest hazel helmet hockey holiday honey horizon hospital hungry husband iceberg idea illness insect island
ivory jacket jelly jewel journey jungle juniper kangaroo kettle kingdom kitchen ladder lantern laughter leather lemon
letter library lizard lobster lumber machine magnet mammal manner marble market meadow melody memory metal mirror
modern monkey morning mother mountain muffin museum mustard narrow nature needle nephew noodle oasis ocean octopus
office olive onion orange orchard oxygen oyster paddle palace panther parent parrot passenger pastry pebble pelican
pencil pepper picture pigeon pillow pirate planet plastic pocket polar pony potato powder prairie pumpkin puzzle quarry
quiet rabbit radio raven receipt rescue ribbon river robin rocket rubber saddle sailor salmon sandwich satellite
season shadow shelter shoulder silver singer sister soldier spider spinach spiral spring squirrel stadium station sugar
summer sunset teacher temple theatre thirsty thunder ticket tiger timber tomato tower trumpet tunnel turtle umbrella
uncle valley vanilla velvet village violin volcano wagon walnut water weather whisper window winter wisdom yellow zebra
arm bag bath bean bell bird boat bone book bowl box bread brick bus cake cap card cat chain chair chest clay clock
coat corn cow cup deer desk dog door dream drum duck ear farm fish flag fog fork frog gate glass glue goat gold grape
grass hat heart hill horse house ice ink iron jar juice key king knee lake lamp leaf leg lime lion lock map mask milk
moon mouse mud nail neck nest night nose oak owl paint park peach pear pen pie pig pond queen rain rice ring road roof
room root rope rose salt sand school sea sheep ship shirt shoe shop silk skin sky smoke snake snow soap sock soup spoon
star steam stone street sun swan table tail tea tent thumb toast toy train truck vase voice wall wheat wheel wind
wing wolf wood wool yard
""".split()

OTHER_LANGUAGES = {  # by espeak-ng's name of the language
    "de": "Abend Apfel Blume Brücke Eichhörnchen Fenster Garten Himmel Jahr Käse Löffel Pferd Schatten Zucker".split(),
    "es": "abeja barco caballo dulce espejo fuente guitarra hoja jardín lluvia mañana pueblo queso zapato".split(),
    "fr-fr": "arbre bateau chapeau demain écharpe feuille grenouille hiver jardin lumière montagne pluie rouge voiture".split(),
    "it": "albero barca cavallo domani foglia giardino luce mattina nuvola pioggia ragazza specchio tavolo zucchero".split(),
    "pl": "burza chmura deszcz gwiazda jabłko kwiat las miasto ogród pies rzeka słońce wiatr zamek".split(),
    "fi": "aamu hevonen järvi kukka lumi metsä omena pilvi ranta sade talo tuuli yö äiti".split(),
    "tr": "ağaç balık çanta deniz ekmek gökyüzü hayvan ışık kapı limon orman rüzgar şeker yağmur".split(),
    "ru": "берег ветер город дерево звезда камень лошадь молоко небо облако песня сахар трава яблоко".split(),
    "sv": "björn dörr fönster gräs hjärta kväll lampa måne nyckel regn sjö skog träd vinter".split(),
    "pt": "barco cavalo chuva estrela folha garrafa janela lua manhã nuvem pedra sapato vento árvore".split(),
    "hi": "आकाश कमरा किताब घर चाँद नदी पेड़ फूल बादल मौसम रास्ता सूरज हवा पहाड़".split(),
    "el": "αέρας βουνό γάτα δέντρο ήλιος θάλασσα καράβι λουλούδι μήλο νερό ουρανός πόρτα σπίτι χιόνι".split(),
}
