/** An event about a lead or a contact. What each field means, and its limit, is in docs/api.md. */
export interface AnalyticsEvent {
  customer_id: string;
  user_id: string;
  recording_id: string;
  event_type: string;
  entity_type: "lead" | "contact";
  entity_id: string;
  tool_signature?: string | null;
  event_id?: string | null;
  message?: string | null;
  /** The present time in UTC, unless you give another or an `idempotency_key`. */
  javascript_local_time?: string | null;
  apex_local_time?: string | null;
  event_environment_path?: string | null;
  name_parser_event_id?: string | null;
  recommendation_model_event_id?: string | null;
  version_info?: Record<string, unknown> | null;
  /** A random one, unless you give another. */
  idempotency_key?: string | null;
}

/** One thing wrong with an event. `field` is empty for the event as a whole. */
export interface Violation {
  field: string;
  description: string;
}

export interface Options {
  /** Where the service is. By default, where this script came from. */
  url?: string;
  /** A publishable key, or a function that returns a token, and is called before each request. */
  key?: string | (() => string | Promise<string>);
  /** Called for each event that is given up. By default, it is a warning on the console. */
  onRefused?: (event: AnalyticsEvent, violations: Violation[]) => void;
}

export interface Analytics {
  /**
   * Store an event. Never throws and never rejects. The promise resolves once the event is kept in this browser: in a
   * service worker, which may be stopped at any time, wait for it.
   */
  track(event: AnalyticsEvent): Promise<void>;
}

export function createAnalytics(options?: Options): Analytics;
