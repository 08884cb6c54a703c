"""What the synthetic records are made of: Discogs' own names for genres, styles, roles and the like (CC0), and words.

The weights are shares measured on real records; where only the frequent ones were measured, the rest is made up.
"""

# ruff: noqa: SIM905 (a list literal of a thousand quoted words would be a thousand lines)

GENRES = {
    "Rock": 26.6, "Electronic": 25.7, "Pop": 13.5, "Folk, World, & Country": 8.2, "Classical": 4.9, "Jazz": 5.0,
    "Funk / Soul": 4.3, "Hip Hop": 4.0, "Latin": 2.2, "Stage & Screen": 1.8, "Reggae": 1.5, "Blues": 1.1,
    "Non-Music": 0.7, "Children's": 0.2, "Brass & Military": 0.1,
}  # fmt: skip
"""How often a genre is drawn. As a record draws several different ones, 33% of them end up with Rock, 32% with
Electronic, 18% with Pop, 11% with Folk, 7% each with Classical and Jazz."""

COUNTRIES = {
    "US": 25, "Germany": 9, "UK": 8, "Japan": 6, "Italy": 4, None: 3, "France": 3.8, "Netherlands": 3.7,
    "Europe": 3.5, "Spain": 3, "Canada": 2.8, "Australia": 2, "Sweden": 2, "Belgium": 1.8, "Russia": 1.6,
    "Brazil": 1.5, "Poland": 1.4, "Greece": 1.3, "USSR": 1.2, "Finland": 1.2, "Switzerland": 1.1, "Norway": 1,
    "Yugoslavia": 1, "Denmark": 0.9, "UK & Europe": 0.9, "Mexico": 0.9, "Argentina": 0.8, "Portugal": 0.8,
    "Czechoslovakia": 0.8, "Austria": 0.7, "Hungary": 0.6, "Jamaica": 0.6, "Turkey": 0.5, "South Africa": 0.5,
    "New Zealand": 0.5, "India": 0.4, "Israel": 0.4, "USA & Canada": 0.3, "Scandinavia": 0.3,
    "Singapore, Malaysia & Hong Kong": 0.2, "Côte d'Ivoire": 0.1,
}  # fmt: skip

QUALITIES = {
    "Needs Vote": 890, "Correct": 100, "Needs Minor Changes": 5, "Complete and Correct": 4, "Entirely Incorrect": 1,
}  # fmt: skip

NAME_QUALITIES = {
    "Needs Major Changes": 60, "Needs Vote": 26, "Correct": 13, "Complete and Correct": 1,
}  # fmt: skip
"""Of artists and labels, most of which nobody has looked at."""

FORMATS = {
    "Vinyl": 52, "CD": 29, "File": 9, "Cassette": 7, "CDr": 1.4, "DVD": 0.6, "Shellac": 0.5, "All Media": 0.3,
    "Box Set": 0.2,
}  # fmt: skip

DESCRIPTIONS = {
    "Album": 186, '12"': 118, "LP": 109, "33 ⅓ RPM": 76, "45 RPM": 55, '7"': 55, "Compilation": 52, "EP": 50,
    "Single": 48, "Promo": 43, "Reissue": 41, "Stereo": 38, "Limited Edition": 33, "MP3": 26, "Mono": 19,
    "Remastered": 16, "Mixed": 9, "Unofficial Release": 10, "Repress": 9, "WAV": 8, "Mini-Album": 8,
    "Maxi-Single": 8, "White Label": 7, '10"': 6, "Single Sided": 6, "Numbered": 6, "DVD-Video": 5, "FLAC": 5,
    "78 RPM": 5, "Test Pressing": 3, "Picture Disc": 3,
}  # fmt: skip

IDENTIFIERS = {
    "Matrix / Runout": 400, "Barcode": 170, "Rights Society": 120, "Other": 55, "Label Code": 40,
    "Mould SID Code": 35, "Mastering SID Code": 33, "Price Code": 10, "SPARS Code": 9, "Depósito Legal": 3,
    "Distribution Code": 3, "ISRC": 2,
}  # fmt: skip

IDENTIFIER_NOTES = {
    None: 390, "": 120, "Text": 30, "Side A": 40, "Side B": 40, "Scanned": 15, "String": 8, "Variant 1": 10,
    "Variant 2": 10, "Runout side A, etched": 12, "Runout side B, etched": 12, "Label, side A": 8, "Printed": 6,
    "Price code": 3,
}  # fmt: skip

COMPANY_ROLES = {
    "Published By": 140, "Phonographic Copyright (p)": 119, "Copyright (c)": 114, "Recorded At": 96,
    "Distributed By": 64, "Pressed By": 57, "Mastered At": 51, "Manufactured By": 47, "Record Company": 22,
    "Produced For": 21, "Mixed At": 21, "Made By": 20, "Printed By": 18, "Lacquer Cut At": 14, "Licensed From": 11,
    "Marketed By": 10, "Glass Mastered At": 5,
}  # fmt: skip

JOINS = {
    ",": 64, "/": 16, "&": 15, "Featuring": 6, "And": 5, "-": 5, "Feat.": 4, "Conducted By": 2, "vs.": 2,
}  # fmt: skip

ROLES = (
    "Written-By|Producer|Vocals|Remix|Music By|Composed By|Guitar|Lyrics By|Bass|Drums|Mastered By|Backing Vocals|"
    "Engineer|Mixed By|Featuring|Executive-Producer|Arranged By|Piano|Written By|Performer|Recorded By|"
    "Photography By|Keyboards|Design|Co-producer|Violin|Conductor|Orchestra|Trumpet|Percussion|Cello|"
    "Lacquer Cut By|Rap|Liner Notes|Instrumentation By|Acoustic Guitar|Artwork|Tenor Saxophone|Trombone|"
    "Lead Vocals|Management|Presenter|Saxophone|Songwriter|Layout|Art Direction|Programmed By|Edited By|DJ Mix|"
    "Words By|Flute|Mandolin|Choir|Viola|Harp|Clarinet"
).split("|")
"""The most frequent first; on real releases 1,224 distinct ones occur, most of them combinations."""

ROLE_DETAILS = (
    "Additional|Assistant|Strings|Uncredited|With|All Tracks By|Uncredited By|Bass|Lead|Brass|Original|Tenor|Vocal|"
    "Second|Live|Executive|Digital|Piano|Solo|12-String|Electric|Rhythm"
).split("|")

WORDS = (
    "a about after again all alone always and angel another around away baby back beat because beautiful before "
    "black blue body born boy break bring broken burning by call can't change child city close cold come control "
    "crazy cry dance dark day dead deep desire don't door down dream drive dub earth echo edit electric end every "
    "eyes fall far fast feel fire first flow for forever free from game get ghost girl give go gold gone good got "
    "ground hand happy hard heart heaven high hold home hot house how hurt I if in inside into is it just keep "
    "kind king kiss know land last leave let life light like line little live lonely long lost love machine magic "
    "make man me mind mix moon more morning mother move music my need never new night no not now of oh old on once "
    "one only open our out over part people place play power pressure queen rain ready red remix rhythm ride right "
    "river road rock roll run sad say sea secret send shadow shake she shine side silence sky sleep slow small "
    "smile so somebody song soul sound space star stay step still stone stop storm story strange street summer sun "
    "sweet system take talk tell the theme there thing think this thousand time to together tonight touch town "
    "train true turn under up version voice wait walk want war water way we wild wind winter with woman wonder "
    "work world year you young your zero"
).split()

ACCENTED = (
    "é à ça où étoile été tête cœur même rêve forêt Noël naïve señor mañana corazón niño canción adiós años São "
    "não você coração fünf schön Mädchen für über Straße Träume grün Köln größer Malmö Kärlek är på från själ "
    "också få då hjärta łódź miłość noc żółty świat dziś dům láska žena tvůj ještě čas szív élet éjszaka győr "
    "İstanbul aşk güneş ağır çok Ārija ezers București inimă și þú ást sól Björk Sigur Rós Motörhead Mötley Crüe "
    "Beyoncé Dvořák Łukasz Håkan Zoë"
).split()

OTHER_SCRIPTS = (
    "любовь ночь дождь звезда моя сердце город песня дорога зима весна небо ветер тишина война мир "
    "愛 夜 東京 さくら 恋の歌 ひとり 夢 雨の中 海 ありがとう 心 花火 星空 人生 風 音楽 "
    "αγάπη νύχτα θάλασσα τραγούδι ουρανός καρδιά ζωή μαζί 사랑 바람 하늘 노래 서울 밤 "
    "أغنية حبيبي ليل قلبي שיר אהבה לילה ירושלים รัก เพลง ฝน 月亮 我的爱 上海 夜来香 ☆ ♥ № ½ ∞"
).split()

STYLES = (
    "AOR|Aboriginal|Abstract|Acid|Acid House|Acid Jazz|Acid Rock|Acoustic|African|Afro-Cuban|Afro-Cuban Jazz|"
    "Afrobeat|Aguinaldo|Aleatoric|Alt-Pop|Alternative Metal|Alternative Rock|Amapiano|Ambient|Ambient House|"
    "Anarcho-Punk|Anatolian Rock|Andalusian Classical|Andean Music|Anison|Antifolk|Appalachian Music|Arabic Pop|"
    "Arena Rock|Art Rock|Art Song|Atmospheric Black Metal|Atonal|Audiobook|Avant-garde Jazz|Avantgarde|Axé|Azonto|"
    "Bachata|Baila|Baião|Bakersfield Sound|Balearic|Ballad|Ballet|Ballroom|Baltimore Club|Bambuco|Banda|"
    "Bangladeshi Classical|Barbershop|Baroque|Baroque Pop|Basque Music|Bass Music|Bassline|Batucada|Bayou Funk|"
    "Beat|Beatbox|Beatdown|Beguine|Bel Canto|Bengali Music|Berlin-School|Bećarac|Bhangra|Big Band|Big Beat|Bitpop|"
    "Black Metal|Blackgaze|Bleep|Bluegrass|Blues Rock|Bolero|Bollywood|Bomba|Bongo Flava|Boogaloo|Boogie|"
    "Boogie Woogie|Boom Bap|Bop|Bossa Nova|Bossanova|Bounce|Bouncy Techno|Brass Band|Brass Instrument|Break-In|"
    "Breakbeat|Breakcore|Breaks|Brega|Britcore|Britpop|Broken Beat|Brutal Death Metal|Bubblegum|Bubbling|Bultrón|"
    "Byzantine|Cabaret|Caipira|Cajun|Calypso|Cambodian Classical|Candombe|Cantata|Cantopop|Cantorial|"
    "Canzone Napoletana|Cape Jazz|Capriccio|Carimbó|Carnatic|Catalan Music|Celtic|Cha-Cha|Chacarera|Chamamé|"
    "Chamber Music|Champeta|Chanson|Charanga|Chicago Blues|Chillwave|Chinese Classical|Chiptune|Choral|Choro|"
    "Chutney|City Pop|Classic Rock|Classical|Classical Guitar|Cloud Rap|Cobla|Coldwave|Comedy|Comfy Synth|Compas|"
    "Concert Band|Concert Film|Concerto|Concerto Grosso|Conjunto|Conscious|Contemporary|Contemporary Jazz|"
    "Contemporary R&B|Cool Jazz|Copla|Corrido|Country|Country Blues|Country Rock|Cretan|Crossover Thrash|"
    "Crossover thrash|Crunk|Crust|Cuatro|Cubano|Cumbia|Currulao|Cut-up/DJ|DJ Battle Tool|Dabke|Dance-pop|Dancehall|"
    "Dances|Dangdut|Dansband|Danzon|Dark Ambient|Dark Electro|Dark Jazz|Darkwave|Death Metal|Deathcore|Deathrock|"
    "Deconstructed Club|Deep House|Deep Techno|Delta Blues|Depressive Black Metal|Descarga|Desert Blues|Dialogue|"
    "Disco|Disco Polo|Divertimento|Dixieland|Donk|Doo Wop|Doom Metal|Doomcore|Downtempo|Dream Pop|Drill|Drone|"
    "Drum n Bass|Dub|Dub Poetry|Dub Techno|Dubstep|Dungeon Synth|Duranguense|EBM|Early|East Coast Blues|"
    "Easy Listening|Education|Educational|Electric Blues|Electro|Electro House|Electro Swing|Electroacoustic|"
    "Electroclash|Emo|Enka|Erotic|Ethereal|Ethno-pop|Etude|Euro House|Euro Trance|Euro-Disco|Eurobeat|Eurodance|"
    "Europop|Exotica|Experimental|Expressionist|Fado|Fantasia|Favela Funk|Field Recording|Filk|Flamenco|Folk|"
    "Folk Metal|Folk Rock|Footwork|Formes Fixes|Forró|Free Funk|Free Improvisation|Free Jazz|Freestyle|Freetekno|"
    "French House|Frevo|Funaná|Funeral Doom Metal|Funk|Funk Metal|Funkot|Fusion|Future Bass|Future House|"
    "Future Jazz|Future Pop|Futurism|G-Funk|Gabber|Gagaku|Gaita|Galician Traditional|Gamelan|Gangsta|Garage House|"
    "Garage Rock|Geet|Ghazal|Ghetto|Ghetto House|Ghettotech|Glam|Glitch|Glitch Hop|Gnawa|Go-Go|Goa Trance|"
    "Goregrind|Gospel|Goth Rock|Gothic Metal|Gqom|Grand Opera|Grime|Grindcore|Griot|Groove Metal|Group Sounds|"
    "Grunge|Guaguancó|Guajira|Guaracha|Guarania|Guggenmusik|Gusle|Gwo Ka|Gypsy Jazz|Għana|Halftime|Hands Up|"
    "Happy Hardcore|Hard Beat|Hard Bop|Hard House|Hard Rock|Hard Techno|Hard Trance|Hardcore|Hardcore Hip-Hop|"
    "Hardstyle|Harmonica Blues|Harpsichord|Harsh Noise Wall|Hawaiian|Health-Fitness|Heavy Metal|Hi NRG|Highlife|"
    "Hill Country Blues|Hillbilly|Hindustani|Hip Hop|Hip-House|Hiplife|Hokkien Pop|Holiday|Honky Tonk|Honkyoku|"
    "Horror Rock|Horrorcore|House|Huayno|Hyper Techno|Hyperpop|Hyphy|Hypnagogic pop|IDM|Illbient|Impressionist|"
    "Incidental Music|Indian Classical|Indie Pop|Indie Rock|Indo-Pop|Industrial|Industrial Metal|Instrumental|"
    "Interview|Italo House|Italo-Disco|Italodance|Izvorna|J-Core|J-Rock|J-pop|Jangle Pop|Jazz-Funk|Jazz-Rock|"
    "Jazzdance|Jazzy Hip-Hop|Jersey Club|Jibaro|Jiuta|Joropo|Jota|Jug Band|Juke|Jump Blues|Jumpstyle|Jungle|"
    "Junkanoo|K-Rock|K-pop|Karaoke|Kaseko|Kaskawi|Kayōkyoku|Keroncong|Keyboard|Khaliji|Kizomba|Klasik|Klezmer|Kolo|"
    "Korean Court Music|Krautrock|Kuduro|Kwaito|Lambada|Lao Music|Late Romantic|Latin|Latin Jazz|Latin Pop|Laïkó|"
    "Leftfield|Lento Violento|Levenslied|Lied|Light Music|Liscio|Lo-Fi|Louisiana Blues|Lounge|Lovers Rock|Low Bap|"
    "Lowercase|Luk Krung|Luk Thung|Lullaby|MPB|Madrigal|Magnificat|Makina|Maloya|Mambo|Mandopop|Manila Sound|"
    "Marcha Carnavalesca|Marches|Mariachi|Marimba|Mass|Math Rock|Mathcore|Mbalax|Medical|Medieval|"
    "Melodic Death Metal|Melodic Hardcore|Memphis Blues|Memphis Rap|Mento|Merengue|Metalcore|Miami Bass|Microhouse|"
    "Microtonal|Midwest Emo|Military|Milonga|Min'yō|Minimal|Minimal Techno|Minimalism|Minneapolis Sound|Mizrahi|"
    "Mo Lam|Mod|Modal|Modern|Modern Classical|Modern Electric Blues|Monolog|Moombahton|Morna|Motet|Motswako|"
    "Mouth Music|Movie Effects|Mugham|Musette|Music Hall|Music Video|Musical|Musique Concrète|Música Criolla|NDW|"
    "Nagauta|Neo Soul|Neo Trance|Neo-Classical|Neo-Classical Metal|Neo-Romantic|Neofolk|Neopagan|Nerdcore Techno|"
    "New Age|New Beat|New Jack Swing|New Wave|Nhạc Vàng|Nintendocore|No Wave|Nocturne|Noise|Noise Rock|Noisecore|"
    "Nordic|Norteño|Novelty|Nu Metal|Nu-Disco|Nueva Cancion|Nueva Trova|Nursery Rhymes|Néo Kyma|Népzene|Occitan|"
    "Occult|Oi|Ojkača|Opera|Operetta|Oratorio|Orchestra|Organ|Ottoman Classical|Overtone Singing|Overture|P.Funk|"
    "Pachanga|Pacific|Pagode|Parody|Pasodoble|Passion|Percussion Ensemble|Persian Classical|Persian Pop|"
    "Philippine Classical|Phleng Phuea Chiwit|Phonk|Piano|Piano Blues|Piedmont Blues|Piobaireachd|Pipe & Drum|"
    "Plainchant|Plena|Plunderphonics|Poetry|Political|Polka|Pop Punk|Pop Rap|Pop Rock|Pornogrind|Porro|Post Bop|"
    "Post Rock|Post-Grunge|Post-Hardcore|Post-Metal|Post-Modern|Post-Punk|Power Electronics|Power Metal|Power Pop|"
    "Power Violence|Prelude|Prog Rock|Program Music|Progressive Bluegrass|Progressive Breaks|Progressive House|"
    "Progressive Metal|Progressive Trance|Promotional|Psy-Trance|Psychedelic|Psychedelic Rock|Psychobilly|Pub Rock|"
    "Public Broadcast|Public Service Announcement|Punk|Qawwali|Quechua|Radioplay|Ragga|Ragga HipHop|Ragtime|"
    "Ranchera|Rapso|Rara|Raï|Rebetiko|Reggae|Reggae Gospel|Reggae-Pop|Reggaeton|Religious|Renaissance|Requiem|"
    "Rhapsody|Rhythm & Blues|Rhythmic Noise|RnB/Swing|Rock & Roll|Rock Opera|Rockabilly|Rocksteady|Romani|Romantic|"
    "Roots Reggae|Rumba|Rune Singing|Russian Pop|Ryūkōka|Rōkyoku|Salegy|Salsa|Samba|Samba-Canção|Sankyoku|Schlager|"
    "Schranz|Score|Screamo|Screw|Sea Shanties|Sean-nós|Sephardic|Serenade|Seresta|Serial|Sermon|Sertanejo|Shaabi|"
    "Shibuya-Kei|Shidaiqu|Shinkyoku|Shoegaze|Shomyo|Singeli|Singspiel|Ska|Skiffle|Skweee|Slowcore|Sludge Metal|"
    "Smooth Jazz|Snap|Soca|Soft Rock|Sokyoku|Solo|Son|Son Montuno|Sonata|Sonero|Soukous|Soul|Soul-Jazz|Sound Art|"
    "Sound Collage|Sound Poetry|Soundtrack|Southern Rock|Space Rock|Space-Age|Spaza|Special Effects|Spectralism|"
    "Speech|Speed Garage|Speed Metal|Speedcore|Spiritual Jazz|Spirituals|Spoken Word|Sport|Steel Band|Stoner Rock|"
    "Story|Stride|String Ensemble|String Instrument|Style Galant|Suite|Sunshine Pop|Suomisaundi|Surf|Swamp Pop|"
    "Swing|Swingbeat|Symphonic Metal|Symphonic Rock|Symphony|Synth-pop|Synthpunk|Synthwave|Sámi Music|Séga|Taarab|"
    "Tamburitza|Tamil Film Music|Tango|Te Deum|Tech House|Tech Trance|Technical|Technical Death Metal|Techno|"
    "Tejano|Texas Blues|Thai Classical|Theme|Theme With Variations|Therapy|Thrash|Thug Rap|Timba|Toasting|"
    "Tone Poem|Trallalero|Trance|Trap|Tribal|Tribal House|Trip Hop|Tropical House|Trova|Turntablism|Twelve-tone|"
    "Twist|UK Funky|UK Garage|UK Street Soul|Unblack Metal|V-pop|Vallenato|Vaporwave|Vaudeville|Verismo|"
    "Video Game Music|Viking Metal|Villancicos|Vocal|Vocaloid|Volksmusik|Waiata|Western Swing|Wind Ensemble|"
    "Witch House|Woodwind Instrument|Yemenite Jewish|Yoruba|Yé-Yé|Zamba|Zarzuela|Zemer Ivri|Zhongguo Feng|Zouk|"
    "Zydeco|Éntekhno"
).split("|")
"""All 757, alphabetically."""
