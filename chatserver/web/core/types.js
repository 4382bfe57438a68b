// The shapes that the parts of the page share, for readers and for `tsc`. There is no code here.

/**
 * An entry of a room's log as docs/protocol.md sends it, after folding: edits, reactions and erasures are in it.
 * @typedef {object} Entry
 * @property {string} event "message", "joined", "topic", …
 * @property {number} room_id
 * @property {number} seq
 * @property {string} at RFC 3339, UTC
 * @property {string} [from] the author of a message
 * @property {string} [name]
 * @property {string} [by]
 * @property {string} [to]
 * @property {string} [display]
 * @property {boolean} [bot]
 * @property {string} [text]
 * @property {number} [of]
 * @property {number} [re]
 * @property {Quote} [quote]
 * @property {string} [id] of one's own messages
 * @property {boolean} [edited]
 * @property {boolean} [erased]
 * @property {Record<string, number>} [reactions]
 * @property {string[]} [mine]
 * @property {number} [replies]
 * @property {string} [reason]
 * @property {string} [role]
 * @property {string} [until]
 * @property {string} [reaction]
 * @property {number} [count]
 * @property {string} [past]
 * @property {string} [invites]
 * @property {number} [pace]
 * @property {number} [known] the seq up to which what is folded in is known; not from the server
 */

/** @typedef {{seq: number, from: string, display?: string, text?: string, erased?: boolean}} Quote */

/** @typedef {{name: string, display?: string, online: boolean, away?: string, bot?: boolean}} Person */

/**
 * A room that one is in. `id` is its `room_id`, `label` what it is called now: "general", "@bob". `head` is its last seq.
 * @typedef {object} Room
 * @property {number} id
 * @property {string} label
 * @property {string} [role] absent in a direct room
 * @property {number} head
 * @property {number} read
 * @property {number} [backs] how often the read mark was moved back, since the page was loaded
 * @property {number} messages unread messages
 * @property {number} mentions
 * @property {number} [first] the first unread message
 * @property {string} [last] time of the newest message
 * @property {string} [topic]
 * @property {number} [members]
 * @property {Person} [with] the other one of a direct room
 * @property {"all"|"mentions"|"nothing"} [notify]
 * @property {Map<string, number>} typing names, and until when to show them (milliseconds of Date.now)
 * @property {Runs} runs the entries in memory (core/runs.js)
 */

/**
 * What is to be sent. `state`: "waiting" (to be sent), "sent" (not answered yet), "refused" (`why` says it; the person
 * edits or discards it). It leaves the outbox when the server has stored it.
 * @typedef {object} Item
 * @property {string} id
 * @property {string} account
 * @property {"say"|"edit"} kind
 * @property {number} room room_id, 0 for a direct room that does not exist yet
 * @property {string} label the room's label, for the command
 * @property {string} text
 * @property {number} [re]
 * @property {number} [of] the message that is edited
 * @property {number} order
 * @property {string} at when it was typed, RFC 3339
 * @property {number} tries
 * @property {"waiting"|"sent"|"refused"} state
 * @property {string} [why] the refusal, or why it waits
 */

/**
 * @typedef {object} State
 * @property {"starting"|"login"|"online"|"offline"} phase "offline": logged in before, and the connection is being made
 * @property {number} [retryAt] when the next attempt is made (milliseconds of Date.now)
 * @property {string} [notice] why one has to log in again, or what the server says; to be shown once
 * @property {{name: string, display?: string, guest: boolean}|null} me
 * @property {Record<string, string>} prefer
 * @property {Record<string, any>|null} server the facts of the server
 * @property {Map<number, Room>} rooms by id
 * @property {{room: string, room_id: number, by: string}[]} invitations
 * @property {Map<string, Person>} people by name, whoever was heard of
 * @property {Set<string>} ignored
 * @property {Item[]} outbox of this account, in order
 * @property {number} foreign unsent items of other accounts on this device
 * @property {number} current the id of the room in view; 0: none
 */

/**
 * Entries that are neighbours, from `from` to `to`. `top`: nothing older can be read. @typedef {object} Run
 * @property {number} from
 * @property {number} to
 * @property {Entry[]} entries
 * @property {boolean} top
 */

/**
 * The entries of a room in memory: `newest()` is the run that ends at the room's head or null, `at(seq)` the one with this
 * seq, `entry(seq)` one entry. @typedef {import("./runs.js").Runs} Runs
 */

/**
 * A refusal of the server, or "offline", "timeout" if there is no answer.
 * @typedef {Error & {error: string, text: string, retry?: number}} Refusal
 */

/**
 * All that views may do (client.js).
 * @typedef {object} Client
 * @property {State} state read it; only the client changes it
 * @property {(listener: () => void) => () => void} subscribe called after changes, at most once for each frame; returns
 *   what ends it
 * @property {(command: object) => Promise<any>} command sends it and resolves with its answer, or rejects with a Refusal
 * @property {(fields: {name: string, password: string, keep: boolean}) => Promise<void>} login
 * @property {(fields: {name: string, password: string, code?: string, keep: boolean}) => Promise<void>} register
 * @property {() => Promise<void>} guest
 * @property {() => Promise<void>} logout
 * @property {() => void} dismiss the notice has been read
 * @property {(id: number) => void} show makes it the room in view
 * @property {(id: number) => Room|undefined} room
 * @property {(label: string) => Room|undefined} called the room of this label that one is in
 * @property {(label: string) => Promise<Room>} join
 * @property {(room: Room, place: {before?: number, after?: number, around?: number, newest?: boolean, since?: string})
 *   => Promise<Run|null>} load fetches a page into memory, unless it is there; null: nothing is there
 * @property {(label: string, text: string, more?: {re?: number, draft?: boolean}) => Promise<void>} send puts it into the outbox,
 *   with `draft` in place of the draft of this label; resolves once it is on the disk
 * @property {(room: Room, seq: number, text: string) => Promise<void>} edit
 * @property {(id: string) => Promise<void>} discard takes an item out of the outbox
 * @property {(id: string, text: string) => Promise<void>} resend puts a refused item back, with this text
 * @property {(room: Room, seq: number) => void} seen moves the read mark to it, soon
 * @property {(room: Room) => void} typing
 * @property {(label: string) => string} draft
 * @property {(label: string, text: string) => void} keepDraft
 * @property {() => [string, string][]} drafted the drafts of this account, by label
 */

export {};
