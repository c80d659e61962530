//! The vocabulary of the generated shops: some of it outside ASCII, some of it with the commas and quotes that
//! a CSV reader must survive.

pub(super) const SHOPS: [&str; 16] = [
    "Northwind Outdoor",
    "Bäckerei Sonnenschein",
    "Café Lumière",
    "Copper & Pine",
    "Harbour Books",
    "Kite Bicycles",
    "Lark Stationery",
    "Maison Dubois",
    "Oak Street Hardware",
    "Pixel Pantry",
    "Quiet Audio",
    "Red Fox Toys",
    "Silver Birch Home",
    "Tidal Surf Co.",
    "Urban Garden",
    "Willow Ceramics",
];

pub(super) const FIRST_NAMES: [&str; 48] = [
    "Ada",
    "Aiko",
    "Amara",
    "André",
    "Anna",
    "Ben",
    "Björn",
    "Carlos",
    "Chloé",
    "Chen",
    "Clara",
    "David",
    "Elif",
    "Emma",
    "Fatima",
    "Felix",
    "François",
    "Grace",
    "Hana",
    "Hugo",
    "Ines",
    "Ivan",
    "Jakub",
    "Jamal",
    "José",
    "Julia",
    "Kofi",
    "Laura",
    "Leila",
    "Liam",
    "Lucía",
    "Maria",
    "Mateo",
    "Mei",
    "Mia",
    "Nadia",
    "Noah",
    "Olga",
    "Omar",
    "Priya",
    "Ravi",
    "Sofia",
    "Søren",
    "Tom",
    "Viktor",
    "Yara",
    "Yuki",
    "Zoë",
];

pub(super) const LAST_NAMES: [&str; 48] = [
    "Adeyemi",
    "Andersson",
    "Bauer",
    "Becker",
    "Bianchi",
    "Brown",
    "Castillo",
    "Chen",
    "Costa",
    "Demir",
    "Dubois",
    "Evans",
    "Fernández",
    "Fischer",
    "García",
    "Haddad",
    "Hansen",
    "Horváth",
    "Ito",
    "Ivanova",
    "Jensen",
    "Kaya",
    "Keller",
    "Khan",
    "Kowalski",
    "Kumar",
    "Lefèvre",
    "Li",
    "López",
    "Martin",
    "Mensah",
    "Müller",
    "Nakamura",
    "Nguyen",
    "Novák",
    "O'Brien",
    "Okafor",
    "Patel",
    "Rossi",
    "Santos",
    "Schmidt",
    "Silva",
    "Singh",
    "Smith",
    "Tanaka",
    "Taylor",
    "Weber",
    "Yılmaz",
];

/// Domains reserved for examples by RFC 2606: no letter sent to them reaches anybody.
pub(super) const MAIL_DOMAINS: [&str; 5] =
    ["example.com", "example.net", "example.org", "mail.example.com", "post.example.org"];

pub(super) const ADJECTIVES: [&str; 20] = [
    "Compact",
    "Ergonomic",
    "Foldable",
    "Handmade",
    "Heavy-duty",
    "Insulated",
    "Linen",
    "Matte black",
    "Merino",
    "Minimal",
    "Oak",
    "Organic",
    "Portable",
    "Recycled",
    "Slim",
    "Stainless",
    "Solar",
    "Vintage",
    "Waterproof",
    "Wireless",
];

pub(super) const PRODUCTS: [&str; 24] = [
    "backpack",
    "bicycle lamp",
    "bookshelf, three boards",
    "ceramic mug",
    "coffee grinder",
    "desk lamp",
    "dinner plate",
    "garden chair",
    "headphones",
    "keyboard",
    "kettle, 1.7 l",
    "monitor 27\"",
    "notebook A5",
    "office chair",
    "picture frame 10\" × 12\"",
    "plant pot",
    "rain jacket",
    "running shoes",
    "sleeping bag",
    "speaker",
    "tea towel",
    "tent",
    "wallet",
    "water bottle",
];

pub(super) const COUNTRIES: [&str; 8] = ["DE", "US", "GB", "FR", "ES", "CA", "SE", "PL"];

/// Most shops sell in dollars: a value's weight is how often it stands here.
pub(super) const CURRENCIES: [&str; 8] = ["USD", "USD", "USD", "USD", "USD", "EUR", "GBP", "CAD"];

pub(super) const STATUSES: [&str; 12] = [
    "delivered",
    "delivered",
    "delivered",
    "delivered",
    "shipped",
    "shipped",
    "processing",
    "confirmed",
    "pending",
    "pending",
    "cancelled",
    "refunded",
];

pub(super) const SOURCES: [&str; 5] = ["web", "web", "mobile", "marketplace", "store"];

pub(super) const CAMPAIGNS: [Option<&str>; 6] =
    [None, None, None, Some("summer-sale"), Some("newsletter-42"), Some("black-friday")];

pub(super) const DISCOUNTS: [Option<&str>; 6] = [None, None, None, None, Some("WELCOME10"), Some("FREESHIP")];

pub(super) const AGENTS: [&str; 3] =
    ["Firefox/145.0 (X11; Linux x86_64)", "Safari/26.1 (iPhone)", "Chrome/142.0 (Windows)"];

pub(super) const TIERS: [&str; 4] = ["none", "bronze", "silver", "gold"];

pub(super) const STOCK_SOURCES: [&str; 6] = ["manual", "order", "receipt", "return", "adjustment", "system"];

/// The local part of an address for `name`: ASCII, lower case.
pub(super) fn mailbox(name: &str) -> String {
    let fold = |letter: char| match letter {
        'à' | 'á' | 'â' | 'ä' => 'a',
        'ç' | 'č' => 'c',
        'è' | 'é' | 'ë' | 'ê' => 'e',
        'í' | 'ı' => 'i',
        'ó' | 'ö' | 'ø' => 'o',
        'ü' | 'ú' => 'u',
        ' ' => '.',
        other => other,
    };
    name.to_lowercase().chars().map(fold).filter(|letter| letter.is_ascii_alphabetic() || *letter == '.').collect()
}
