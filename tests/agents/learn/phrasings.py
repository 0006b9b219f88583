"""Questions of people at work, by topic: of each, ways to ask the same. Rules were never tried on HELD_OUT."""

from typing import Final

Topic = tuple[tuple[str, ...], ...]
"""Questions; of each, phrasings that ask the same. Different questions of a topic are what somebody asks next."""

TRIED: Final[tuple[Topic, ...]] = (
    (
        ("How long is parental leave?", "What is the length of parental leave?", "parental leave duration"),
        (
            "Who approves parental leave?",
            "Which person has to approve parental leave?",
            "parental leave approved by who",
        ),
        ("Is parental leave paid?", "Do I get paid during parental leave?", "parental leave paid or unpaid"),
    ),
    (
        ("When is the travel report due?", "By what date is the travel report due?", "travel report due date"),
        (
            "Where do I file the travel report?",
            "Which place do I file my travel report in?",
            "place to file travel report",
        ),
        (
            "How much does the company pay for a hotel in Berlin?",
            "What amount does the company pay for hotels in Berlin?",
            "hotel amount paid by company Berlin",
        ),
        (
            "How much does the company pay for a hotel in Paris?",
            "What amount does the company pay for hotels in Paris?",
            "hotel amount paid by company Paris",
        ),
    ),
    (
        (
            "How do I reset the password of the VPN?",
            "How can I reset my VPN password?",
            "reset VPN password how",
        ),
        (
            "Why is the VPN slow in the evening?",
            "For what reason is the VPN so slow in the evenings?",
            "reason for slow VPN in evening",
        ),
        ("Who runs the VPN gateway?", "Which person runs the VPN gateway?", "person running VPN gateway"),
    ),
    (
        (
            "How many days of holiday do I get after 5 years?",
            "What number of holidays do I have after 5 years?",
            "number of holiday days after 5 years",
        ),
        (
            "How many days of holiday do I get after 10 years?",
            "What number of holidays do I have after 10 years?",
            "number of holiday days after 10 years",
        ),
        (
            "Can holidays be carried over to the next year?",
            "May I carry over holidays into next year?",
            "carry over holidays next year",
        ),
    ),
    (
        (
            "Which valve closes first when the turbine trips?",
            "What valve is closed first if the turbine trips?",
            "first valve closing when turbine trips",
        ),
        (
            "What pressure does the relief valve open at?",
            "At which pressure will the relief valve open?",
            "relief valve opening pressure",
        ),
        (
            "Who may restart the turbine after a trip?",
            "Which person may restart the turbine after it tripped?",
            "restart turbine after trip who",
        ),
    ),
    (
        (
            "Where is the archive of invoices kept?",
            "In which place are archived invoices kept?",
            "place where invoice archive is kept",
        ),
        (
            "How long do we keep invoices?",
            "For how long are invoices kept?",
            "length of keeping invoices",
        ),
        (
            "Do invoices need two signatures?",
            "Are two signatures needed on an invoice?",
            "two signatures invoice needed",
        ),
    ),
)

HELD_OUT: Final[tuple[Topic, ...]] = (
    (
        (
            "When does the canteen open on Saturdays?",
            "What time does the canteen open on Saturday?",
            "canteen opening time saturday",
        ),
        (
            "Does the canteen take credit cards?",
            "Can I pay with a credit card in the canteen?",
            "credit card payment canteen",
        ),
        ("Who cleans the canteen?", "Which people clean the canteen?", "canteen cleaning person"),
    ),
    (
        (
            "How do I book a meeting room in Oslo?",
            "In what way can I book meeting rooms in Oslo?",
            "booking a meeting room Oslo how",
        ),
        (
            "How do I book a meeting room in Madrid?",
            "In what way can I book meeting rooms in Madrid?",
            "booking a meeting room Madrid how",
        ),
        (
            "How many people fit into the Aurora room?",
            "What is the number of people that fit in the Aurora room?",
            "number of people Aurora room",
        ),
    ),
    (
        (
            "Why was the release of version 7 delayed?",
            "What is the reason for the delay of release 7?",
            "reason release 7 delayed",
        ),
        (
            "When will version 8 be released?",
            "On what date will version 8 come out as a release?",
            "release date version 8",
        ),
        (
            "Who signs off a release?",
            "Which person signs off releases?",
            "person signing off release",
        ),
    ),
    (
        (
            "How much does a parking permit cost?",
            "What is the price of a parking permit?",
            "parking permit price",
        ),
        (
            "Where can visitors park?",
            "In which place may a visitor park?",
            "visitor parking place",
        ),
        (
            "How long is a parking permit valid?",
            "For how long does a parking permit stay valid?",
            "parking permit valid how long",
        ),
    ),
    (
        (
            "Which crane may lift containers above 30 tonnes?",
            "What crane is allowed to lift a container over 30 tonnes?",
            "crane lifting containers above 30 tonnes",
        ),
        (
            "Which crane may lift containers above 45 tonnes?",
            "What crane is allowed to lift a container over 45 tonnes?",
            "crane lifting containers above 45 tonnes",
        ),
        (
            "At what wind speed do cranes stop?",
            "Which wind speed makes the cranes stop?",
            "wind speed cranes stop",
        ),
    ),
    (
        (
            "Do contractors need a badge for the laboratory?",
            "Is a laboratory badge needed by contractors?",
            "contractor badge laboratory needed",
        ),
        (
            "Who issues laboratory badges?",
            "Which person issues the badges of the laboratory?",
            "laboratory badge issued by who",
        ),
        (
            "What happens when a laboratory badge is lost?",
            "What do I do if I lost my laboratory badge?",
            "lost laboratory badge what happens",
        ),
    ),
)
